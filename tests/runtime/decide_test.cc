// Decisions against an independent computation through StagedModel, one decision at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "tests/runtime/exit_fixture.h"
#include "tests/testing/model_runner.h"

namespace spade::testing {
namespace {

constexpr int32_t kLayers = 12;
const std::vector<TokenId> kLabels = {300, 17, 2048, 999};

DecideRequest MakeDecision(int length, uint32_t seed, ExitMode mode) {
  DecideRequest request;
  request.context.prompt = MakePrompt(length, seed);
  request.labels = kLabels;
  request.mode = mode;
  request.max_mismatch = mode == ExitMode::kExact ? 0 : 0.05;
  return request;
}

std::vector<DecisionCollector::Answer> DecideToEnd(Engine& engine, DecideRequest request) {
  auto sink = std::make_shared<DecisionCollector>();
  const auto handle = engine.Decide(std::move(request), sink);
  EXPECT_TRUE(handle.ok()) << handle.status();
  if (!handle.ok()) return {};
  EXPECT_TRUE(sink->Wait().ok());
  return sink->answers();
}

class DecideTest : public ::testing::TestWithParam<SpadePosition> {
 protected:
  // An engine with the hand-made calibration.
  TestEngine MakeExiting(int32_t max_rows = 512) {
    EngineOptions options = SmallOptions();
    options.max_rows = max_rows;
    return MakeExiting(options);
  }
  TestEngine MakeExiting(EngineOptions options) {
    calibration_ = HandMadeCalibration(GetParam());
    options.calibrations = {dir_.File("hand.safetensors")};
    EXPECT_TRUE(SaveCalibration(calibration_, options.calibrations[0]).ok());
    return MakeEngine(options);
  }

  // The definition, one prompt alone: climb to each exit, ask its head, finish as a SPADE row.
  struct Reference {
    int32_t exit_layer = kLayers;
    std::vector<float> logits;
  };
  Reference Compute(const std::vector<TokenId>& prompt, bool may_exit) {
    if (!model_) {
      backend_ = MakeTestBackend("cpu");
      ModelOptions options;
      options.exit_layers = {4, 8};
      model_ = LoadModelOrDie(backend_.get(), TicketsModel(), options);
      EXPECT_TRUE(model_->PrepareStart().ok());
    }
    ModelRunner runner(backend_.get(), model_.get());
    runner.Add(0, 0, prompt, ModelRunner::Outputs::kLast);
    RowBatch& batch = runner.batch();
    model_->Begin(batch);
    Reference reference;
    for (int32_t stage = 0; stage < 3; ++stage) {
      model_->RunStage(stage, batch, runner.kv());
      if (stage == 2 || reference.exit_layer < kLayers || !may_exit) continue;
      if (Entropy(batch, stage) < calibration_.certificates[1].thresholds[stage]) {
        reference.exit_layer = model_->stage(stage).last;
        const auto last = static_cast<int32_t>(prompt.size()) - 1;
        const int32_t position = GetParam() == SpadePosition::kReset ? 1 : last;
        Regrouping regrouping;
        regrouping.Begin(batch);
        regrouping.BecomeSpade(last, position);
        model_->Regroup(regrouping, batch, Tensor{});
      }
    }
    const float* logits = model_->LogitsOf(std::vector<int32_t>{0}, kLabels);
    reference.logits.assign(logits, logits + kLabels.size());
    return reference;
  }

  float Entropy(const RowBatch& batch, int32_t stage) const {
    const float* row = model_->hidden().F32Row(batch.rows() - 1);
    std::vector<float> probabilities(4);
    return calibration_.exits[static_cast<size_t>(stage)].Entropy({row, 192}, probabilities);
  }

  static std::vector<float> Softmax(const std::vector<float>& logits) {
    const float highest = *std::max_element(logits.begin(), logits.end());
    std::vector<float> result;
    double sum = 0;
    for (const float logit : logits) {
      result.push_back(std::exp(logit - highest));
      sum += result.back();
    }
    for (float& value : result) value = static_cast<float>(value / sum);
    return result;
  }

  static void ExpectSame(const Decision& decision, const Reference& reference) {
    EXPECT_EQ(decision.exit_layer, reference.exit_layer);
    const auto best = std::max_element(reference.logits.begin(), reference.logits.end());
    EXPECT_EQ(decision.label, best - reference.logits.begin());
    EXPECT_EQ(decision.probabilities, Softmax(reference.logits));  // to the bit
  }

  TempDir dir_;
  Calibration calibration_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<StagedModel> model_;
};

TEST_P(DecideTest, ExactIsFullDepth) {
  const TestEngine engine = MakeExiting();
  for (int i = 0; i < 8; ++i) {
    const DecideRequest request = MakeDecision(10 + 9 * i, 40u + i, ExitMode::kExact);
    const Reference reference = Compute(request.context.prompt, /*may_exit=*/false);
    const auto answers = DecideToEnd(*engine, request);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].kind, DecisionKind::kFinal);
    ExpectSame(answers[0].decision, reference);
    EXPECT_EQ(answers[0].decision.certificate_id, "");
    EXPECT_EQ(answers[0].decision.layer_rows_saved, 0);
  }
}

// All at once: each decision leaves where it would alone, with the same bits.
TEST_P(DecideTest, FastIsTheSpadePass) {
  const TestEngine engine = MakeExiting();
  std::vector<std::shared_ptr<DecisionCollector>> sinks;
  std::vector<DecideRequest> requests;
  for (int i = 0; i < 40; ++i) {
    requests.push_back(MakeDecision(5 + 4 * i, 70u + i, ExitMode::kFast));
    sinks.push_back(std::make_shared<DecisionCollector>());
    ASSERT_TRUE(engine->Decide(requests.back(), sinks.back()).ok());
  }
  std::map<int32_t, int> exits;
  for (size_t i = 0; i < sinks.size(); ++i) {
    ASSERT_TRUE(sinks[i]->Wait().ok());
    ASSERT_EQ(sinks[i]->answers().size(), 1u);
    const Decision& decision = sinks[i]->answers()[0].decision;
    ExpectSame(decision, Compute(requests[i].context.prompt, /*may_exit=*/true));
    EXPECT_EQ(decision.certificate_id, engine->info().calibrations[0].id);
    EXPECT_EQ(decision.layer_rows_saved > 0, decision.exit_layer < kLayers);
    if (decision.exit_layer < kLayers) {
      EXPECT_LT(decision.entropy, decision.threshold);
    }
    ++exits[decision.exit_layer];
  }
  EXPECT_EQ(exits.size(), 3u) << "the test wants decisions at every exit and at full depth";
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

// What left early must not be found by a later request with the same prompt.
TEST_P(DecideTest, ExitsLeaveNothingInThePrefixCache) {
  const TestEngine engine = MakeExiting();
  int num_exits = 0;
  for (int i = 0; i < 20; ++i) {
    DecideRequest request = MakeDecision(5 + 8 * i, 70u + i, ExitMode::kFast);
    num_exits += DecideToEnd(*engine, request).at(0).decision.exit_layer < kLayers;
    request.mode = ExitMode::kExact;
    const auto answers = DecideToEnd(*engine, request);
    ExpectSame(answers.at(0).decision, Compute(request.context.prompt, /*may_exit=*/false));
  }
  EXPECT_GT(num_exits, 0);
}

TEST_P(DecideTest, ASharedPrefixIsCachedThoughAnswersLeaveEarly) {
  const TestEngine engine = MakeExiting();
  int num_exits = 0;
  for (int i = 0; i < 20; ++i) {
    const DecideRequest request = MakeDecision(5 + 8 * i, 70u + i, ExitMode::kFast);
    const bool is_cacheable = request.context.prompt.size() > 16;
    const Decision first = DecideToEnd(*engine, request).at(0).decision;
    if (first.exit_layer == kLayers || !is_cacheable) continue;
    ++num_exits;
    const Decision second = DecideToEnd(*engine, request).at(0).decision;
    EXPECT_EQ(second.exit_layer, kLayers) << "it runs all layers for the cache";
    ExpectSame(second, Compute(request.context.prompt, /*may_exit=*/false));
    const Decision third = DecideToEnd(*engine, request).at(0).decision;
    EXPECT_GE(third.usage.cached_tokens, 16);
    ExpectSame(third, Compute(request.context.prompt, /*may_exit=*/true));
  }
  EXPECT_GT(num_exits, 0);
}

// Neither what was cached, nor that somebody asked the same before, which makes an answer run on.
TEST_P(DecideTest, NothingOfAnotherSaltShows) {
  const TestEngine engine = MakeExiting();
  int num_exits = 0;
  for (int i = 0; i < 20; ++i) {
    DecideRequest request = MakeDecision(5 + 8 * i, 70u + i, ExitMode::kFast);
    request.context.cache_salt = "one";
    const Decision alone = DecideToEnd(*engine, request).at(0).decision;
    for (int again = 0; again < 2; ++again) DecideToEnd(*engine, request);
    request.context.cache_salt = "other";
    const Decision decision = DecideToEnd(*engine, request).at(0).decision;
    EXPECT_EQ(decision.usage.cached_tokens, 0);
    EXPECT_EQ(decision.exit_layer, alone.exit_layer);
    EXPECT_EQ(decision.layer_rows_saved, alone.layer_rows_saved);
    num_exits += alone.exit_layer < kLayers;
  }
  EXPECT_GT(num_exits, 0);
}

TEST_P(DecideTest, VerifiedDecisionsFillThePrefixCache) {
  const TestEngine engine = MakeExiting();
  int num_early = 0;
  for (int i = 0; i < 20; ++i) {
    const DecideRequest request = MakeDecision(24 + 4 * i, 70u + i, ExitMode::kVerified);
    num_early += DecideToEnd(*engine, request).size() == 2;
    const auto again = DecideToEnd(*engine, request);
    EXPECT_GE(again.back().decision.usage.cached_tokens, 16);
    ExpectSame(again.back().decision, Compute(request.context.prompt, /*may_exit=*/false));
  }
  EXPECT_GT(num_early, 0);
}

TEST_P(DecideTest, VerifiedGivesBothAnswers) {
  const TestEngine engine = MakeExiting();
  std::vector<std::shared_ptr<DecisionCollector>> sinks;
  std::vector<DecideRequest> requests;
  for (int i = 0; i < 24; ++i) {
    requests.push_back(MakeDecision(20 + i, 70u + i, ExitMode::kVerified));
    sinks.push_back(std::make_shared<DecisionCollector>());
    ASSERT_TRUE(engine->Decide(requests.back(), sinks.back()).ok());
  }
  int num_early = 0;
  for (size_t i = 0; i < sinks.size(); ++i) {
    ASSERT_TRUE(sinks[i]->Wait().ok());
    const auto& answers = sinks[i]->answers();
    const std::vector<TokenId>& prompt = requests[i].context.prompt;
    const Reference early = Compute(prompt, /*may_exit=*/true);
    ASSERT_EQ(answers.size(), early.exit_layer < kLayers ? 2u : 1u);
    if (answers.size() == 2) {
      EXPECT_EQ(answers[0].kind, DecisionKind::kEarly);
      ExpectSame(answers[0].decision, early);
      ++num_early;
    }
    EXPECT_EQ(answers.back().kind, DecisionKind::kFinal);
    ExpectSame(answers.back().decision, Compute(prompt, /*may_exit=*/false));
  }
  EXPECT_GT(num_early, 0);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

// Their keys and values last for a layer: those of all decisions of a step are more than the pool
// holds. Long prompts take two steps, so they do have blocks of the pool, in the same climb.
TEST_P(DecideTest, WithoutAPrefixCacheAnswersAreTheSame) {
  EngineOptions options = SmallOptions(/*kv_blocks=*/12);
  options.max_rows = 128;
  options.prefix_cache = false;
  const TestEngine engine = MakeExiting(options);
  const auto expected = RunToEnd(*engine, MakeRequest(MakePrompt(12, 8), 30));
  auto generation = std::make_shared<Collector>();
  ASSERT_TRUE(engine->Generate(MakeRequest(MakePrompt(12, 8), 30), generation).ok());
  std::vector<std::shared_ptr<DecisionCollector>> sinks;
  std::vector<DecideRequest> requests;
  for (int i = 0; i < 36; ++i) {
    const ExitMode modes[] = {ExitMode::kExact, ExitMode::kFast, ExitMode::kVerified};
    const int length = i % 6 == 5 ? 135 + i : 20 + i;
    requests.push_back(MakeDecision(length, 70u + i, modes[i / 2 % 3]));
    sinks.push_back(std::make_shared<DecisionCollector>());
    ASSERT_TRUE(engine->Decide(requests.back(), sinks.back()).ok());
  }
  std::map<DecisionKind, int> kinds;
  for (size_t i = 0; i < sinks.size(); ++i) {
    ASSERT_TRUE(sinks[i]->Wait().ok());
    const std::vector<TokenId>& prompt = requests[i].context.prompt;
    for (const auto& [kind, decision] : sinks[i]->answers()) {
      const bool early = kind == DecisionKind::kEarly || requests[i].mode == ExitMode::kFast;
      ExpectSame(decision, Compute(prompt, early));
      ++kinds[kind];
    }
  }
  EXPECT_GT(kinds[DecisionKind::kEarly], 0);
  EXPECT_EQ(kinds[DecisionKind::kFinal], 36);
  ASSERT_TRUE(generation->Wait().ok());
  EXPECT_EQ(generation->sequences()[0].tokens, expected[0].tokens);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST_P(DecideTest, AmongGenerations) {
  const TestEngine engine = MakeExiting();
  const auto expected = RunToEnd(*engine, MakeRequest(MakePrompt(30, 8), 40));
  auto generation = std::make_shared<Collector>();
  ASSERT_TRUE(engine->Generate(MakeRequest(MakePrompt(30, 8), 40), generation).ok());
  for (int i = 0; i < 10; ++i) {
    const auto mode = i % 2 == 0 ? ExitMode::kFast : ExitMode::kVerified;
    const DecideRequest request = MakeDecision(30 + i, 70u + i, mode);
    const auto answers = DecideToEnd(*engine, request);
    ExpectSame(answers.at(0).decision, Compute(request.context.prompt, /*may_exit=*/true));
  }
  ASSERT_TRUE(generation->Wait().ok());
  EXPECT_EQ(generation->sequences()[0].tokens, expected[0].tokens);
}

TEST_P(DecideTest, PromptsLongerThanAStepAreRight) {
  const TestEngine engine = MakeExiting(/*max_rows=*/32);
  for (int i = 0; i < 6; ++i) {
    const DecideRequest request = MakeDecision(80 + i, 70u + i, ExitMode::kFast);
    const auto answers = DecideToEnd(*engine, request);
    ExpectSame(answers.at(0).decision, Compute(request.context.prompt, /*may_exit=*/true));
  }
}

TEST_P(DecideTest, BiasAndTemperature) {
  const TestEngine engine = MakeExiting();
  DecideRequest request = MakeDecision(25, 1, ExitMode::kExact);
  const Reference reference = Compute(request.context.prompt, /*may_exit=*/false);
  request.label_bias = {0, 0, 50, 0};
  request.temperature = 25;
  const Decision decision = DecideToEnd(*engine, request).at(0).decision;
  EXPECT_EQ(decision.label, 2);
  std::vector<float> logits = reference.logits;
  logits[2] += 50;
  for (float& logit : logits) logit /= 25;
  const std::vector<float> expected = Softmax(logits);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(decision.probabilities[i], expected[i], 1e-5);
  EXPECT_NEAR(std::accumulate(decision.probabilities.begin(), decision.probabilities.end(), 0.0), 1,
              1e-5);
}

TEST_P(DecideTest, SavingIsCountedAgainstExact) {
  const TestEngine engine = MakeExiting();
  const auto layer_parameters = static_cast<double>(engine->info().config.layer_parameters());
  for (int i = 0; i < 40; ++i) {
    const int rows = 5 + 4 * i;
    const auto answers = DecideToEnd(*engine, MakeDecision(rows, 70u + i, ExitMode::kFast));
    const Decision& decision = answers.at(0).decision;
    EXPECT_EQ(decision.layer_rows_full, rows * (kLayers - 1) + 1);
    const int32_t layers_saved = std::max(0, kLayers - 1 - decision.exit_layer);
    EXPECT_EQ(decision.layer_rows_saved, (rows - 1) * layers_saved);
    EXPECT_EQ(decision.flops_saved, decision.layer_rows_saved * 2 * layer_parameters);
  }
  EXPECT_EQ(MetricValue(*engine.registry, "spade_decisions_total", {{"mode", "FAST"}}), 40);
  EXPECT_GT(MetricValue(*engine.registry, "spade_layer_rows_saved_total"), 0);
}

TEST_P(DecideTest, FirstAnswerCountsAsFirstToken) {
  const TestEngine engine = MakeExiting();
  for (int i = 0; i < 5; ++i) {
    DecideToEnd(*engine, MakeDecision(20 + i, 70u + i, ExitMode::kVerified));
  }
  const prometheus::Registry& registry = *engine.registry;
  EXPECT_EQ(MetricValue(registry, "spade_time_to_first_token_seconds"), 5);
  EXPECT_EQ(MetricValue(registry, "spade_request_prefill_time_seconds"), 5);
  EXPECT_EQ(MetricValue(registry, "spade_sequences_finished_total", {{"finished_reason", "stop"}}),
            5);
}

INSTANTIATE_TEST_SUITE_P(Positions, DecideTest,
                         ::testing::Values(SpadePosition::kKept, SpadePosition::kReset));

}  // namespace
}  // namespace spade::testing
