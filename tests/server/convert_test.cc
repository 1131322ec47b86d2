#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "server/field_check.h"
#include "server/label_tokens.h"
#include "server/request_convert.h"
#include "server/response_convert.h"
#include "server/status_convert.h"
#include "tests/server/fake_engine.h"

namespace spade {
namespace {

class ConvertTest : public ::testing::Test {
 protected:
  FakeEngine engine_;
  RandomSource random_;
  const RequestConverter converter_{&engine_.tokenizer(), &engine_.info(), "fake", &random_};
};

TEST_F(ConvertTest, UnsetFieldsTakeTheDefaults) {
  v1::GenerateRequest proto;
  proto.set_text("hello");
  const auto request = converter_.Convert(proto);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->sampling.temperature, 1.0f);
  EXPECT_EQ(request->sampling.top_p, 1.0f);
  EXPECT_EQ(request->sampling.repetition_penalty, 1.0f);
  EXPECT_FALSE(request->sampling.num_logprobs.has_value());
  EXPECT_EQ(request->num_sequences, 1);
  EXPECT_FALSE(request->max_tokens.has_value());
  EXPECT_TRUE(request->detokenize);
  EXPECT_TRUE(request->skip_special_tokens);
  EXPECT_EQ(request->context.id.size(), 16u);
  EXPECT_EQ(request->context.prompt.front(), 0) << "BOS is added by default";
}

TEST_F(ConvertTest, ExplicitZeroTemperatureIsGreedy) {
  v1::GenerateRequest proto;
  proto.set_text("hello");
  proto.mutable_sampling()->set_temperature(0);
  EXPECT_TRUE(converter_.Convert(proto)->sampling.greedy());
}

TEST_F(ConvertTest, SeedIsTheClientsOrRandom) {
  v1::GenerateRequest proto;
  proto.set_text("hello");
  EXPECT_NE(converter_.Convert(proto)->sampling.seed, converter_.Convert(proto)->sampling.seed);
  proto.mutable_sampling()->set_seed(7);
  EXPECT_EQ(converter_.Convert(proto)->sampling.seed, 7u);
}

TEST_F(ConvertTest, GenerateModesReachTheEngine) {
  v1::GenerateRequest proto;
  proto.set_text("hello");
  EXPECT_EQ(converter_.Convert(proto)->mode, ExitMode::kExact);
  proto.set_mode(v1::MODE_VERIFIED);
  EXPECT_EQ(converter_.Convert(proto)->mode, ExitMode::kVerified);
  proto.set_mode(v1::MODE_FAST);
  proto.set_max_mismatch(0.02);
  EXPECT_EQ(converter_.Convert(proto)->mode, ExitMode::kFast);
  EXPECT_EQ(converter_.Convert(proto)->max_mismatch, 0.02);
}

TEST(GenerateBufferTest, FinishTellsOfEarlyTokens) {
  GenerateDelta delta;
  delta.finish.emplace();
  delta.finish->early = {.exited = 5, .accepted = 4, .layer_rows_saved = 6, .layer_rows_full = 24};
  GenerateBuffer buffer(/*with_logprobs=*/false);
  buffer.Add(delta);
  const v1::EarlyTokens early = buffer.Take().finish().early_tokens();
  EXPECT_EQ(early.exited(), 5u);
  EXPECT_EQ(early.accepted(), 4u);
  EXPECT_DOUBLE_EQ(early.compute_saved(), 0.25);
}

TEST(GenerateBufferTest, ExactHasNoEarlyTokens) {
  GenerateDelta delta;
  delta.finish.emplace();
  GenerateBuffer buffer(/*with_logprobs=*/false);
  buffer.Add(delta);
  EXPECT_FALSE(buffer.Take().finish().has_early_tokens());
}

TEST_F(ConvertTest, BrokenUtf8NamesTheField) {
  v1::GenerateRequest proto;
  proto.set_text("caf\xC3");
  const auto request = converter_.Convert(proto);
  EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(request.status().message()).rfind("text:", 0), 0u);
}

TEST_F(ConvertTest, PriorsBecomeLogits) {
  v1::DecideRequest proto;
  proto.set_text("area:");
  proto.add_labels(" car");
  proto.add_labels(" bank");
  proto.add_label_priors(1);
  proto.add_label_priors(std::exp(2.0f));
  const auto request = converter_.Convert(proto);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_FLOAT_EQ(request->label_bias[0], 0);
  EXPECT_FLOAT_EQ(request->label_bias[1], 2);
}

TEST_F(ConvertTest, OneLabelOfSeveralTokensMakesAllSequences) {
  v1::DecideRequest proto;
  proto.set_text("area:");
  proto.add_labels(" car");
  proto.add_labels(" incomprehensibilities");
  const auto request = converter_.Convert(proto);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->labels.empty());
  ASSERT_EQ(request->label_sequences.size(), 2u);
  EXPECT_EQ(request->label_sequences[0].size(), 1u);
  EXPECT_EQ(engine_.tokenizer().Decode(request->label_sequences[1], true),
            " incomprehensibilities");
}

TEST_F(ConvertTest, LabelsAfterALongPromptAreThoseAfterAShortOne) {
  v1::DecideRequest proto;
  proto.add_labels(" car");
  proto.add_labels(" bank");
  proto.set_text("area:");
  const auto short_prompt = converter_.Convert(proto);
  ASSERT_TRUE(short_prompt.ok()) << short_prompt.status();
  std::string text;
  for (int i = 0; i < 200; ++i) text += " message";
  proto.set_text(text + " area:");
  const auto long_prompt = converter_.Convert(proto);
  ASSERT_TRUE(long_prompt.ok()) << long_prompt.status();
  EXPECT_EQ(long_prompt->labels, short_prompt->labels);
}

TEST_F(ConvertTest, LabelThatJoinsThePromptsLastWordIsRefused) {
  v1::DecideRequest proto;
  proto.set_text("the ban");
  proto.add_labels("k");
  proto.add_labels("d");
  const auto request = converter_.Convert(proto);
  EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(request.status().message()).find("labels[0]"), std::string::npos);
}

TEST(SanitizedIdTest, KeepsPrintableAsciiOnlyAndBoundsTheLength) {
  EXPECT_EQ(SanitizedId("a b\n\x80\x7f~"), "a_b___~");
  EXPECT_EQ(SanitizedId(std::string(1000, 'x')).size(), 128u);
}

TEST(FieldCheckTest, NoIntegerOverflows) {
  const auto kMax = std::numeric_limits<int32_t>::max();
  EXPECT_EQ(*CheckedInt32("f", 2147483647u, 0, kMax), kMax);
  EXPECT_FALSE(CheckedInt32("f", 2147483648u, 0, kMax).ok());
  EXPECT_FALSE(CheckedInt32("f", 0xffffffffu, 0, kMax).ok());
  EXPECT_FALSE(CheckedInt32("f", std::numeric_limits<uint64_t>::max(), -5, kMax).ok());
  EXPECT_FALSE(CheckedInt32("f", 0, 1, kMax).ok());
  EXPECT_FALSE(CheckedTokenId("f", 0x80000000u, 4096).ok());
}

TEST(GenerateBufferTest, MergesWhatWaitsPerSequence) {
  GenerateBuffer buffer(/*with_logprobs=*/false);
  for (int i = 0; i < 6; ++i) {
    GenerateDelta delta;
    delta.index = i % 2;
    delta.tokens.push_back(SampledToken{i, 0, 1, {}});
    delta.text = std::to_string(i);
    buffer.Add(delta);
  }
  const v1::GenerateResponse first = buffer.Take();
  EXPECT_EQ(first.index(), 0u);
  EXPECT_EQ(first.text_delta(), "024");
  EXPECT_EQ(first.token_ids_size(), 3);
  EXPECT_EQ(first.logprobs_size(), 0);
  EXPECT_EQ(buffer.Take().text_delta(), "135");
  EXPECT_TRUE(buffer.empty());
}

TEST(GenerateBufferTest, MessagesStaySmall) {
  GenerateBuffer buffer(/*with_logprobs=*/true);
  GenerateDelta delta;
  SampledToken token{1, -1, 1, {}};
  token.top.assign(20, TokenLogprob{100'000, -2});
  delta.prompt_logprobs.assign(5000, token);
  delta.tokens.assign(3000, token);
  delta.finish.emplace();
  buffer.Add(delta);
  int prompt = 0;
  int tokens = 0;
  int finishes = 0;
  while (!buffer.empty()) {
    const v1::GenerateResponse message = buffer.Take();
    EXPECT_LT(message.ByteSizeLong(), 1u << 20);
    prompt += message.prompt_logprobs_size();
    tokens += message.token_ids_size();
    EXPECT_EQ(message.logprobs_size(), message.token_ids_size());
    finishes += message.has_finish() ? 1 : 0;
    EXPECT_EQ(message.has_finish(), buffer.empty());
  }
  EXPECT_EQ(prompt, 5000);
  EXPECT_EQ(tokens, 3000);
  EXPECT_EQ(finishes, 1);
}

TEST(StatusConvertTest, CodesAreEqualAndLongMessagesCut) {
  const auto delay = std::chrono::milliseconds(1);
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus(), delay).ok());
  EXPECT_EQ(ToGrpcStatus(absl::NotFoundError("x"), delay).error_code(),
            grpc::StatusCode::NOT_FOUND);
  const grpc::Status cut = ToGrpcStatus(absl::InternalError(std::string(5000, 'x')), delay);
  EXPECT_LT(cut.error_message().size(), 1100u);
  EXPECT_TRUE(cut.error_details().empty());
}

}  // namespace
}  // namespace spade
