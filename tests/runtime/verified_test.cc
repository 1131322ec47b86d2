// VERIFIED with the bundled model's own calibrations: its answers are EXACT's, on as many prompts
// as SPADE_VERIFIED_PROMPTS says (default: 100; a thousand take a minute).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/runtime/engine_fixture.h"

namespace spade::testing {
namespace {

constexpr size_t kInFlight = 32;

size_t NumPrompts() {
  const char* count = std::getenv("SPADE_VERIFIED_PROMPTS");
  return count == nullptr ? 100 : static_cast<size_t>(std::max(std::atoi(count), 1));
}

std::vector<std::vector<TokenId>> Prompts(const Tokenizer& tokenizer) {
  std::ifstream file(TicketsModel() + "/calibration.jsonl");
  std::vector<std::vector<TokenId>> prompts;
  std::string line;
  while (prompts.size() < NumPrompts() && std::getline(file, line)) {
    const auto text = nlohmann::json::parse(line).at("prompt").get<std::string>();
    prompts.push_back(tokenizer.Encode(text, /*add_special_tokens=*/true).value());
  }
  return prompts;
}

class VerifiedTest : public ::testing::Test {
 protected:
  VerifiedTest() {
    EngineOptions options = SmallOptions();
    options.max_queued_requests = 2 * kInFlight;
    options.prefix_cache = false;
    options.calibrations = {TicketsModel() + "/spade.safetensors",
                            TicketsModel() + "/spade-generate.safetensors"};
    engine_ = MakeEngine(options);
    prompts_ = Prompts(engine_->tokenizer());
  }

  TestEngine engine_;
  std::vector<std::vector<TokenId>> prompts_;
};

TEST_F(VerifiedTest, DecisionsAreExact) {
  ASSERT_EQ(prompts_.size(), NumPrompts());
  const std::vector<TokenId>& labels = engine_->info().calibrations.at(0).label_ids;
  size_t num_early = 0;
  for (size_t begin = 0; begin < prompts_.size(); begin += kInFlight) {
    const size_t end = std::min(begin + kInFlight, prompts_.size());
    std::vector<std::shared_ptr<DecisionCollector>> sinks;
    for (const ExitMode mode : {ExitMode::kExact, ExitMode::kVerified}) {
      for (size_t i = begin; i < end; ++i) {
        DecideRequest request;
        request.context.prompt = prompts_[i];
        request.labels = labels;
        request.mode = mode;
        request.max_mismatch = mode == ExitMode::kExact ? 0 : 0.01;
        sinks.push_back(std::make_shared<DecisionCollector>());
        ASSERT_TRUE(engine_->Decide(std::move(request), sinks.back()).ok());
      }
    }
    for (const auto& sink : sinks) ASSERT_TRUE(sink->Wait().ok());
    for (size_t i = 0; i < end - begin; ++i) {
      const auto& verified = sinks[end - begin + i]->answers();
      num_early += verified.size() == 2;
      EXPECT_EQ(verified.back().decision.probabilities,
                sinks[i]->answers().back().decision.probabilities)
          << "prompt " << begin + i;
    }
  }
  EXPECT_GT(num_early, prompts_.size() / 2);
}

class VerifiedTextTest : public VerifiedTest, public ::testing::WithParamInterface<float> {};

TEST_P(VerifiedTextTest, IsExact) {
  ASSERT_EQ(prompts_.size(), NumPrompts());
  for (size_t begin = 0; begin < prompts_.size(); begin += kInFlight) {
    const size_t end = std::min(begin + kInFlight, prompts_.size());
    std::vector<std::shared_ptr<Collector>> sinks;
    for (const ExitMode mode : {ExitMode::kExact, ExitMode::kVerified}) {
      for (size_t i = begin; i < end; ++i) {
        GenerateRequest request = MakeRequest(prompts_[i], 6);
        request.sampling.temperature = GetParam();
        request.sampling.seed = i;
        request.mode = mode;
        sinks.push_back(std::make_shared<Collector>());
        ASSERT_TRUE(engine_->Generate(std::move(request), sinks.back()).ok());
      }
    }
    const Outcome outcome = WaitForAll(sinks);
    for (size_t i = 0; i < end - begin; ++i) {
      EXPECT_EQ(outcome[end - begin + i][0].tokens, outcome[i][0].tokens) << "prompt " << begin + i;
    }
  }
  EXPECT_GT(MetricValue(*engine_.registry, "spade_draft_tokens_accepted_total"), 0);
}

INSTANTIATE_TEST_SUITE_P(GreedyAndSampled, VerifiedTextTest, ::testing::Values(0.0f, 0.8f));

}  // namespace
}  // namespace spade::testing
