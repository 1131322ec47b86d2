// The same request gives the same bits, whatever else runs and however the work is cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/runtime/engine_fixture.h"
#include "tests/testing/model_runner.h"

namespace spade::testing {
namespace {

constexpr int kNumRequests = 5;

// Greedy, sampled, penalised, several sequences, a long prompt.
GenerateRequest RequestNumber(int i) {
  GenerateRequest request = MakeRequest(MakePrompt(i == 4 ? 90 : 21 + i, 100u + i), 20);
  request.sampling.num_logprobs = 2;
  if (i == 0) return request;
  request.sampling.temperature = 0.9f;
  request.sampling.seed = 7u + static_cast<uint64_t>(i);
  if (i == 2) request.sampling.repetition_penalty = 1.3f;
  if (i == 3) request.num_sequences = 3;
  return request;
}

// All requests at once, among `num_others`.
Outcome RunAll(Engine& engine, int num_others) {
  std::vector<std::shared_ptr<Collector>> others;
  std::vector<std::shared_ptr<Collector>> sinks;
  const auto add_other = [&](int i) {
    others.push_back(std::make_shared<Collector>());
    GenerateRequest request = MakeRequest(MakePrompt(8 + i, 900u + i), 16 + i);
    EXPECT_TRUE(engine.Generate(std::move(request), others.back()).ok());
  };
  for (int i = 0; i < num_others / 2; ++i) add_other(i);
  for (int i = 0; i < kNumRequests; ++i) {
    GenerateRequest request = RequestNumber(i);
    sinks.push_back(std::make_shared<Collector>(request.num_sequences));
    EXPECT_TRUE(engine.Generate(std::move(request), sinks.back()).ok());
  }
  for (int i = num_others / 2; i < num_others; ++i) add_other(i);
  const Outcome outcome = WaitForAll(sinks);
  WaitForAll(others);
  return outcome;
}

void ExpectSameBits(const Outcome& a, const Outcome& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t request = 0; request < a.size(); ++request) {
    ASSERT_EQ(a[request].size(), b[request].size());
    for (size_t i = 0; i < a[request].size(); ++i) {
      EXPECT_EQ(a[request][i].tokens, b[request][i].tokens) << "request " << request;
      EXPECT_EQ(a[request][i].logprobs, b[request][i].logprobs) << "request " << request;
      EXPECT_EQ(a[request][i].text, b[request][i].text) << "request " << request;
    }
  }
}

// Once for each type of products.
class InvarianceTest : public ::testing::TestWithParam<Compute> {
 protected:
  static DType Weights() { return GetParam() == Compute::kI8 ? DType::kI8 : DType::kBF16; }

  static EngineOptions Options(int32_t kv_blocks = 512) {
    EngineOptions options = SmallOptions(kv_blocks);
    options.compute = NameOf(GetParam());
    options.weight_dtype = NameOf(Weights());
    return options;
  }

  // Each request alone in an engine with ample room.
  static const Outcome& Expected() {
    static std::map<Compute, Outcome> expected;
    const auto [found, is_new] = expected.try_emplace(GetParam());
    if (!is_new) return found->second;
    const TestEngine engine = MakeEngine(Options());
    for (int i = 0; i < kNumRequests; ++i) {
      found->second.push_back(RunToEnd(*engine, RequestNumber(i)));
    }
    return found->second;
  }
};

TEST_P(InvarianceTest, AmongOthers) {
  const TestEngine engine = MakeEngine(Options());
  ExpectSameBits(Expected(), RunAll(*engine, 32));
}

TEST_P(InvarianceTest, PromptsInChunks) {
  EngineOptions options = Options();
  options.max_rows = 13;
  const TestEngine engine = MakeEngine(options);
  ExpectSameBits(Expected(), RunAll(*engine, 6));
}

TEST_P(InvarianceTest, AfterPreemption) {
  const TestEngine engine = MakeEngine(Options(/*kv_blocks=*/18));
  const auto num_preemptions = [&] {
    return MetricValue(*engine.registry, "spade_preemptions_total");
  };
  // How many run at once, and so whether one is preempted, is up to the threads' timing.
  for (int round = 0; round < 50 && num_preemptions() == 0; ++round) {
    ExpectSameBits(Expected(), RunAll(*engine, 24));
  }
  EXPECT_GT(num_preemptions(), 0);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST_P(InvarianceTest, WithoutPrefixCache) {
  EngineOptions options = Options();
  options.prefix_cache = false;
  const TestEngine engine = MakeEngine(options);
  ExpectSameBits(Expected(), RunAll(*engine, 4));
  EXPECT_EQ(MetricValue(*engine.registry, "spade_prompt_tokens_cached_total"), 0);
}

TEST_P(InvarianceTest, WithAWarmPrefixCache) {
  const TestEngine engine = MakeEngine(Options());
  ExpectSameBits(Expected(), RunAll(*engine, 0));
  ExpectSameBits(Expected(), RunAll(*engine, 0));
  EXPECT_GT(MetricValue(*engine.registry, "spade_prompt_tokens_cached_total"), 0);
}

// What is computed, and so how long it takes, does not depend on what other salts have asked.
TEST_P(InvarianceTest, APrefixCachedUnderAnotherSaltIsComputedAgain) {
  const TestEngine engine = MakeEngine(Options());
  GenerateRequest request = MakeRequest(MakePrompt(50, 3), 4);
  for (const char* salt : {"", "one", "other"}) {
    request.context.cache_salt = salt;
    EXPECT_EQ(RunToEnd(*engine, request)[0].finish->usage.cached_tokens, 0) << salt;
    EXPECT_EQ(RunToEnd(*engine, request)[0].finish->usage.cached_tokens, 48) << salt;
  }
}

TEST_P(InvarianceTest, SiblingsShareThePrompt) {
  const TestEngine engine = MakeEngine(Options());
  GenerateRequest request = MakeRequest(MakePrompt(50, 3), 4);
  request.num_sequences = 4;
  const auto results = RunToEnd(*engine, request);
  EXPECT_EQ(results[0].finish->usage.cached_tokens, 0);
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(results[static_cast<size_t>(i)].finish->usage.cached_tokens, 48);
    EXPECT_EQ(results[static_cast<size_t>(i)].tokens, results[0].tokens);  // greedy
  }
}

// The plain model, run outside the engine with the whole sequence at once, agrees.
TEST_P(InvarianceTest, GreedyIsThePlainModel) {
  const auto backend = MakeTestBackend("cpu", GetParam());
  const auto model = LoadModelOrDie(backend.get(), TicketsModel(), {.weight_dtype = Weights()});
  ModelRunner runner(backend.get(), model.get());
  const SequenceResult& result = Expected()[0][0];
  std::vector<TokenId> ids = RequestNumber(0).context.prompt;
  const size_t num_prompt = ids.size();
  ids.insert(ids.end(), result.tokens.begin(), result.tokens.end());
  const auto logits = runner.Prefill(/*sequence=*/0, /*first=*/0, ids);
  for (size_t i = 0; i < result.tokens.size(); ++i) {
    const std::vector<float>& row = logits[num_prompt + i - 1];
    EXPECT_EQ(std::max_element(row.begin(), row.end()) - row.begin(), result.tokens[i]);
  }
}

TEST(ComputeTest, TypesOfProductsDiffer) {
  EngineOptions options = SmallOptions();
  const auto in_f32 = RunToEnd(*MakeEngine(options), RequestNumber(0))[0];
  options.compute = "bf16";
  EXPECT_NE(RunToEnd(*MakeEngine(options), RequestNumber(0))[0].logprobs, in_f32.logprobs);
  options.compute = "f32";
  options.weight_dtype = "int8";
  const auto of_int8_in_f32 = RunToEnd(*MakeEngine(options), RequestNumber(0))[0];
  options.compute = "int8";
  EXPECT_NE(RunToEnd(*MakeEngine(options), RequestNumber(0))[0].logprobs, of_int8_in_f32.logprobs);
}

INSTANTIATE_TEST_SUITE_P(Products, InvarianceTest,
                         ::testing::Values(Compute::kF32, Compute::kBF16, Compute::kI8),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

}  // namespace
}  // namespace spade::testing
