// Tokens drawn and scored on the GPU are those of the host's sampler.
#include <gtest/gtest.h>

#include "tests/runtime/exit_fixture.h"
#include "tests/testing/model_runner.h"

namespace spade::testing {
namespace {

constexpr int32_t kTokens = 4;

EngineOptions OptionsOf(const std::string& device) {
  EngineOptions options = SmallOptions();
  options.backend.device = device;
  options.backend.batch_invariant = true;
  return options;
}

GenerateRequest SampledRequest(uint32_t seed, float temperature) {
  GenerateRequest request = MakeRequest(MakePrompt(7, seed), kTokens);
  request.sampling.temperature = temperature;
  request.sampling.seed = seed;
  return request;
}

// One request of each kind that a row can be asked in.
std::vector<GenerateRequest> AllKinds() {
  std::vector<GenerateRequest> requests;
  requests.push_back(SampledRequest(1, 1.0f));
  requests.push_back(SampledRequest(2, 0.8f));
  requests.back().sampling.top_k = 20;
  requests.back().sampling.top_p = 0.9f;
  requests.push_back(SampledRequest(3, 1.5f));
  requests.back().sampling.min_p = 0.05f;
  requests.push_back(SampledRequest(4, 0.0f));
  requests.back().sampling.repetition_penalty = 1.5f;
  requests.back().sampling.frequency_penalty = 0.7f;
  requests.back().sampling.logit_bias = {{300, 5.0f}, {17, -4.0f}};
  requests.back().sampling.num_logprobs = 3;
  requests.push_back(SampledRequest(5, 1.0f));
  requests.back().sampling.allowed_token_ids = {17, 300, 999, 2048, 5};
  requests.push_back(SampledRequest(6, 1.0f));
  requests.back().prompt_logprobs = 2;
  requests.back().sampling.num_logprobs = 0;
  // So many biases that the host draws.
  requests.push_back(SampledRequest(8, 1.0f));
  for (TokenId id = 0; id < 1100; ++id) requests.back().sampling.logit_bias.emplace_back(id, 1.0f);
  // Banned until the end: what greedy decoding gives first without the ban.
  requests.push_back(SampledRequest(7, 0.0f));
  requests.back().stop_token_ids = {300, 17, 999};
  requests.back().min_tokens = kTokens;
  return requests;
}

Outcome RunAllKinds(const std::string& device) {
  const TestEngine engine = MakeEngine(OptionsOf(device));
  std::vector<std::shared_ptr<Collector>> sinks;
  for (GenerateRequest& request : AllKinds()) {
    sinks.push_back(std::make_shared<Collector>());
    EXPECT_TRUE(engine->Generate(std::move(request), sinks.back()).ok());
  }
  return WaitForAll(sinks);
}

void ExpectNear(const std::vector<SampledToken>& actual,
                const std::vector<SampledToken>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].id, expected[i].id);
    EXPECT_NEAR(actual[i].logprob, expected[i].logprob, 1e-4);
    ASSERT_EQ(actual[i].top.size(), expected[i].top.size());
    for (size_t k = 0; k < actual[i].top.size(); ++k) {
      EXPECT_NEAR(actual[i].top[k].logprob, expected[i].top[k].logprob, 1e-4);
    }
  }
}

class CudaDrawTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasCuda()) GTEST_SKIP() << "no GPU, or a build without it";
  }
};

TEST_F(CudaDrawTest, TokensAndScoresAreThoseOfTheHostsSampler) {
  const Outcome on_gpu = RunAllKinds("cuda");
  const Outcome on_host = RunAllKinds("cpu");
  for (size_t i = 0; i < on_host.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(on_gpu[i][0].tokens, on_host[i][0].tokens);
    ExpectNear(on_gpu[i][0].sampled, on_host[i][0].sampled);
    ExpectNear(on_gpu[i][0].prompt_logprobs, on_host[i][0].prompt_logprobs);
  }
  EXPECT_FALSE(on_host[5][0].prompt_logprobs.empty());
}

TEST_F(CudaDrawTest, LabelSequencesScoreAsOnTheHost) {
  Decision decisions[2];
  for (int device = 0; device < 2; ++device) {
    const TestEngine engine = MakeEngine(OptionsOf(device == 0 ? "cpu" : "cuda"));
    DecideRequest request;
    request.context.prompt = MakePrompt(12, 3);
    request.label_sequences = {{300, 17}, {999}, {2048, 5, 17}};
    auto sink = std::make_shared<DecisionCollector>();
    ASSERT_TRUE(engine->Decide(std::move(request), sink).ok());
    ASSERT_TRUE(sink->Wait().ok());
    decisions[device] = sink->answers().back().decision;
  }
  EXPECT_EQ(decisions[0].label, decisions[1].label);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(decisions[0].probabilities[i], decisions[1].probabilities[i], 1e-4);
  }
}

// The calibration that comes with the model: L-SPADE's entropies and tokens are the GPU's, too.
TEST_F(CudaDrawTest, TokensLeaveWhereTheCpusDo) {
  SequenceResult results[2];
  for (int device = 0; device < 2; ++device) {
    EngineOptions options = OptionsOf(device == 0 ? "cpu" : "cuda");
    options.calibrations = {TicketsModel() + "/spade-generate.safetensors"};
    const TestEngine engine = MakeEngine(options);
    GenerateRequest request = MakeEarlyRequest(MakePrompt(7, 9), 8, ExitMode::kFast);
    request.ignore_eos = true;
    results[device] = RunToEnd(*engine, std::move(request)).at(0);
  }
  EXPECT_EQ(results[0].tokens, results[1].tokens);
  EXPECT_EQ(results[0].finish->early->exited, results[1].finish->early->exited);
  EXPECT_GT(results[0].finish->early->exited, 0);
  EXPECT_LT(results[0].finish->early->exited, 8);
}

TEST_F(CudaDrawTest, SampledDraftsChangeNothing) {
  // Every second token leaves at layer 4 with a draft that is often wrong.
  const auto exit = [](const Sequence& sequence, int32_t position, int32_t layer) {
    if (layer != 4 || position % 2 == 0) return std::optional<TokenId>();
    return std::optional<TokenId>(sequence.tokens[static_cast<size_t>(position)]);
  };
  const ForcedExitEngine engine(OptionsOf("cuda"), exit);
  const auto tokens_of = [&](ExitMode mode) {
    GenerateRequest request = SampledRequest(11, 0.9f);
    request.sampling.top_p = 0.95f;
    request.mode = mode;
    return RunToEnd(*engine, std::move(request)).at(0).tokens;
  };
  EXPECT_EQ(tokens_of(ExitMode::kVerified), tokens_of(ExitMode::kExact));
}

}  // namespace
}  // namespace spade::testing
