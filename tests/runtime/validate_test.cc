#include "engine/runtime/validate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace spade {
namespace {

constexpr RequestLimits kLimits = {.vocab_size = 100, .max_context = 32};

GenerateRequest GoodGeneration() {
  GenerateRequest request;
  request.context.prompt = {0, 5, 6};
  request.max_tokens = 4;
  return request;
}

DecideRequest GoodDecision() {
  DecideRequest request;
  request.context.prompt = {0, 5, 6};
  request.labels = {7, 8, 9};
  return request;
}

// The status refuses and its message begins with the field's name.
void ExpectNames(const absl::Status& status, const std::string& field) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(std::string(status.message()).rfind(field + ":", 0), 0u) << status;
}

TEST(ValidateGenerateTest, TakesAGoodRequest) {
  EXPECT_TRUE(Validate(GoodGeneration(), kLimits).ok());
}

TEST(ValidateGenerateTest, EmptyPrompt) {
  GenerateRequest request = GoodGeneration();
  request.context.prompt.clear();
  ExpectNames(Validate(request, kLimits), "prompt");
}

TEST(ValidateGenerateTest, PromptWithoutRoomForOutput) {
  GenerateRequest request = GoodGeneration();
  request.context.prompt.assign(32, 1);
  request.max_tokens.reset();
  ExpectNames(Validate(request, kLimits), "prompt");
}

TEST(ValidateGenerateTest, IdsOutsideTheVocabulary) {
  for (const TokenId id : {-1, 100}) {
    GenerateRequest request = GoodGeneration();
    request.context.prompt[1] = id;
    ExpectNames(Validate(request, kLimits), "prompt");
    request = GoodGeneration();
    request.stop_token_ids = {id};
    ExpectNames(Validate(request, kLimits), "stop_token_ids");
  }
}

TEST(ValidateGenerateTest, MaxTokensFitsExactly) {
  GenerateRequest request = GoodGeneration();
  request.max_tokens = 29;
  EXPECT_TRUE(Validate(request, kLimits).ok());
  request.max_tokens = 30;
  ExpectNames(Validate(request, kLimits), "max_tokens");
  EXPECT_NE(Validate(request, kLimits).message().find("29"), absl::string_view::npos);
  request.max_tokens = std::numeric_limits<int32_t>::max();
  ExpectNames(Validate(request, kLimits), "max_tokens");
  request.max_tokens = 0;
  ExpectNames(Validate(request, kLimits), "max_tokens");
}

TEST(ValidateGenerateTest, MinTokens) {
  GenerateRequest request = GoodGeneration();
  request.min_tokens = 5;
  ExpectNames(Validate(request, kLimits), "min_tokens");
  request.min_tokens = -1;
  ExpectNames(Validate(request, kLimits), "min_tokens");
}

TEST(ValidateGenerateTest, NumberOfSequences) {
  for (const int32_t n : {0, -1, 129}) {
    GenerateRequest request = GoodGeneration();
    request.num_sequences = n;
    ExpectNames(Validate(request, kLimits), "n");
  }
}

TEST(ValidateGenerateTest, StopStrings) {
  GenerateRequest request = GoodGeneration();
  request.stop.assign(17, "x");
  ExpectNames(Validate(request, kLimits), "stop");
  request.stop = {""};
  ExpectNames(Validate(request, kLimits), "stop");
  request.stop = {std::string(257, 'x')};
  ExpectNames(Validate(request, kLimits), "stop");
  request.stop = {"x"};
  request.detokenize = false;
  ExpectNames(Validate(request, kLimits), "stop");
}

TEST(ValidateGenerateTest, Logprobs) {
  GenerateRequest request = GoodGeneration();
  request.sampling.num_logprobs = 21;
  ExpectNames(Validate(request, kLimits), "logprobs");
  request = GoodGeneration();
  request.prompt_logprobs = -1;
  ExpectNames(Validate(request, kLimits), "prompt_logprobs");
}

TEST(ValidateGenerateTest, Sampling) {
  GenerateRequest request = GoodGeneration();
  request.sampling.temperature = std::nanf("");
  EXPECT_EQ(Validate(request, kLimits).code(), absl::StatusCode::kInvalidArgument);
}

TEST(ValidateGenerateTest, DeadlineInThePast) {
  GenerateRequest request = GoodGeneration();
  request.context.deadline = Clock::now() - std::chrono::seconds(1);
  EXPECT_EQ(Validate(request, kLimits).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(ValidateDecideTest, TakesAPromptOfTheWholeContext) {
  DecideRequest request = GoodDecision();
  request.context.prompt.assign(32, 1);
  EXPECT_TRUE(Validate(request, kLimits).ok());
  request.context.prompt.push_back(1);
  ExpectNames(Validate(request, kLimits), "prompt");
}

TEST(ValidateDecideTest, Labels) {
  DecideRequest request = GoodDecision();
  request.labels = {7};
  ExpectNames(Validate(request, kLimits), "labels");
  request.labels = {7, 8, 7};
  ExpectNames(Validate(request, kLimits), "labels");
  request.labels = {7, 100};
  ExpectNames(Validate(request, kLimits), "labels");
}

TEST(ValidateDecideTest, LabelSequences) {
  DecideRequest request = GoodDecision();
  request.labels.clear();
  request.label_sequences = {{5, 6}, {5}};
  EXPECT_TRUE(Validate(request, kLimits).ok());
  request.label_sequences = {{5, 6}, {5, 6}};
  ExpectNames(Validate(request, kLimits), "labels");
  request.label_sequences = {{5, 6}, {}};
  ExpectNames(Validate(request, kLimits), "labels");
  request.label_sequences = {{5, 6}, {kLimits.vocab_size}};
  ExpectNames(Validate(request, kLimits), "labels");
  request.label_sequences = {{5},
                             std::vector<TokenId>(static_cast<size_t>(kLimits.max_context), 6)};
  ExpectNames(Validate(request, kLimits), "labels");
  request.label_sequences = {{5, 6}, {7}};
  request.mode = ExitMode::kFast;
  request.max_mismatch = 0.1;
  ExpectNames(Validate(request, kLimits), "labels");
}

TEST(ValidateDecideTest, Bias) {
  DecideRequest request = GoodDecision();
  request.label_bias = {1, 2};
  ExpectNames(Validate(request, kLimits), "label_bias");
  request.label_bias = {1, 2, std::numeric_limits<float>::infinity()};
  ExpectNames(Validate(request, kLimits), "label_bias");
}

TEST(ValidateDecideTest, Temperature) {
  for (const float temperature : {0.0f, -1.0f, std::nanf("")}) {
    DecideRequest request = GoodDecision();
    request.temperature = temperature;
    ExpectNames(Validate(request, kLimits), "temperature");
  }
}

TEST(ValidateDecideTest, MaxMismatch) {
  for (const double bound : {0.0, 1.0, -0.5, std::nan("")}) {
    DecideRequest request = GoodDecision();
    request.mode = ExitMode::kFast;
    request.max_mismatch = bound;
    ExpectNames(Validate(request, kLimits), "max_mismatch");
  }
}

}  // namespace
}  // namespace spade
