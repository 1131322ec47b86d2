// Decisions between labels of several tokens, against prompt logprobs of prompt and label together.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/runtime/engine_fixture.h"

namespace spade::testing {
namespace {

const std::vector<std::vector<TokenId>> kLabels = {{300, 17}, {300, 18, 999}, {2048}, {44, 45, 46}};

DecideRequest MakeDecision(int length, uint32_t seed) {
  DecideRequest request;
  request.context.prompt = MakePrompt(length, seed);
  request.label_sequences = kLabels;
  return request;
}

Decision DecideToEnd(Engine& engine, DecideRequest request) {
  auto sink = std::make_shared<DecisionCollector>();
  const auto handle = engine.Decide(std::move(request), sink);
  EXPECT_TRUE(handle.ok()) << handle.status();
  if (!handle.ok()) return {};
  EXPECT_TRUE(sink->Wait().ok());
  EXPECT_EQ(sink->answers().size(), 1u);
  return sink->answers().at(0).decision;
}

// Sum of the label's logprobs as prompt tokens.
double LogProbability(Engine& engine, const std::vector<TokenId>& prompt,
                      const std::vector<TokenId>& label) {
  std::vector<TokenId> tokens = prompt;
  tokens.insert(tokens.end(), label.begin(), label.end());
  GenerateRequest request = MakeRequest(tokens, 1);
  request.prompt_logprobs = 0;
  const std::vector<SampledToken> scores = RunToEnd(engine, request)[0].prompt_logprobs;
  double sum = 0;
  for (size_t i = scores.size() - label.size(); i < scores.size(); ++i) sum += scores[i].logprob;
  return sum;
}

TEST(LabelScoringTest, ProbabilitiesAreThoseOfTheWholeLabels) {
  const TestEngine engine = MakeEngine(SmallOptions());
  for (const int length : {1, 15, 16, 40}) {
    const DecideRequest request = MakeDecision(length, 7);
    std::vector<double> expected;
    double sum = 0;
    for (const auto& label : kLabels) {
      expected.push_back(std::exp(LogProbability(*engine, request.context.prompt, label)));
      sum += expected.back();
    }
    const Decision decision = DecideToEnd(*engine, request);
    ASSERT_EQ(decision.probabilities.size(), kLabels.size());
    for (size_t i = 0; i < kLabels.size(); ++i) {
      EXPECT_NEAR(decision.probabilities[i], expected[i] / sum, 1e-5) << length << " " << i;
    }
    EXPECT_EQ(decision.exit_layer, 12);
    EXPECT_EQ(decision.usage.prompt_tokens, length);
  }
}

TEST(LabelScoringTest, PriorsAndTemperatureApply) {
  const TestEngine engine = MakeEngine(SmallOptions());
  DecideRequest request = MakeDecision(20, 3);
  const Decision plain = DecideToEnd(*engine, request);
  request.label_bias = {0, 0, 0, 0};
  request.label_bias[3] = 100;
  const Decision biased = DecideToEnd(*engine, request);
  EXPECT_NE(plain.label, 3);
  EXPECT_EQ(biased.label, 3);
}

TEST(LabelScoringTest, TheSameAmongOthersAndWhenKvIsShort) {
  const TestEngine alone = MakeEngine(SmallOptions());
  const TestEngine busy = MakeEngine(SmallOptions(/*kv_blocks=*/24));
  std::vector<std::shared_ptr<DecisionCollector>> sinks;
  for (uint32_t seed = 0; seed < 12; ++seed) {
    sinks.push_back(std::make_shared<DecisionCollector>());
    ASSERT_TRUE(busy->Decide(MakeDecision(30, seed), sinks.back()).ok());
  }
  for (uint32_t seed = 0; seed < 12; ++seed) {
    ASSERT_TRUE(sinks[seed]->Wait().ok());
    EXPECT_EQ(sinks[seed]->answers().at(0).decision.probabilities,
              DecideToEnd(*alone, MakeDecision(30, seed)).probabilities)
        << seed;
  }
  EXPECT_EQ(busy->Stats().kv_blocks_in_use, 0);
}

TEST(LabelScoringTest, CountsAsADecisionAndNotAsTokens) {
  const TestEngine engine = MakeEngine(SmallOptions());
  DecideToEnd(*engine, MakeDecision(20, 3));
  const prometheus::Registry& registry = *engine.registry;
  EXPECT_EQ(MetricValue(registry, "spade_requests_total", {{"rpc", "Decide"}, {"code", "OK"}}), 1);
  EXPECT_EQ(MetricValue(registry, "spade_requests_total", {{"rpc", "Generate"}}), 0);
  EXPECT_EQ(MetricValue(registry, "spade_generation_tokens_total"), 0);
}

TEST(LabelScoringTest, OtherModesAreRefused) {
  const TestEngine engine = MakeEngine(SmallOptions());
  DecideRequest request = MakeDecision(20, 3);
  request.mode = ExitMode::kVerified;
  request.max_mismatch = 0.1;
  const auto handle = engine->Decide(request, std::make_shared<DecisionCollector>());
  EXPECT_EQ(handle.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace spade::testing
