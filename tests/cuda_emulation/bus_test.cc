// How many bytes a step moves between host and GPU: kernels/README.md states them.
#include "emulator/bus.h"

#include <gtest/gtest.h>

#include "tests/runtime/engine_fixture.h"

namespace spade::testing {
namespace {

constexpr int64_t kVocab = 4096;  // of tickets-5m
constexpr int32_t kTokens = 3;

// Bytes to the host for each token but the first, of a decode of its own.
int64_t BytesPerToken(GenerateRequest request) {
  EngineOptions options = SmallOptions();
  options.backend.device = "cuda";
  const TestEngine engine = MakeEngine(options);
  request.ignore_eos = true;
  int64_t bytes[2];
  for (const int32_t tokens : {1, kTokens}) {
    GenerateRequest run = request;
    run.max_tokens = tokens;
    const int64_t before = cuda_emulation::BytesToHost();
    EXPECT_EQ(RunToEnd(*engine, std::move(run)).at(0).tokens.size(), static_cast<size_t>(tokens));
    bytes[tokens == 1 ? 0 : 1] = cuda_emulation::BytesToHost() - before;
  }
  return (bytes[1] - bytes[0]) / (kTokens - 1);
}

GenerateRequest Request() { return MakeRequest(MakePrompt(5, 1), kTokens); }

TEST(CudaBusTest, AGreedyTokenCrossesInEightBytes) { EXPECT_EQ(BytesPerToken(Request()), 8); }

TEST(CudaBusTest, SoDoesADrawnOneWithPenalties) {
  GenerateRequest request = Request();
  request.sampling.temperature = 1;
  request.sampling.top_p = 0.9f;
  request.sampling.repetition_penalty = 1.2f;
  EXPECT_EQ(BytesPerToken(std::move(request)), 8);
}

TEST(CudaBusTest, LogprobsAddAScore) {
  GenerateRequest request = Request();
  request.sampling.num_logprobs = 5;
  EXPECT_EQ(BytesPerToken(std::move(request)), 8 + 184);
}

TEST(CudaBusTest, SoDoesOneOfAFewThatAreAllowed) {
  GenerateRequest request = Request();
  request.sampling.allowed_token_ids = {17, 300};
  EXPECT_EQ(BytesPerToken(std::move(request)), 8);
}

TEST(CudaBusTest, OnlyARowThatTheHostMustReadCrossesWhole) {
  GenerateRequest request = Request();
  for (TokenId id = 0; id < 1100; ++id) request.sampling.logit_bias.emplace_back(id, 1.0f);
  EXPECT_EQ(BytesPerToken(std::move(request)), kVocab * 4);
}

}  // namespace
}  // namespace spade::testing
