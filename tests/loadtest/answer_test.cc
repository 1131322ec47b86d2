#include "loadtest/answer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace spade::loadtest {
namespace {

ModelFacts Model() { return {"tiny", 50, 256, true, 0, {1}}; }

Workload MakeWorkload() {
  WorkloadOptions options;
  options.labels = {" yes", " no"};
  options.decide_prompts = {{"Is it?", " no"}};
  return *Workload::Make(options, Model());
}

template <typename Message>
grpc::ByteBuffer Bytes(const Message& message) {
  grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

v1::GenerateResponse Tokens(int count, int total_at_finish = -1) {
  v1::GenerateResponse response;
  for (int i = 0; i < count; ++i) response.add_token_ids(5);
  if (total_at_finish >= 0) {
    response.mutable_finish()->set_reason(v1::Finish::REASON_LENGTH);
    response.mutable_finish()->mutable_usage()->set_output_tokens(total_at_finish);
  }
  return response;
}

v1::DecideResponse Decision(const std::string& label, uint32_t index, float probability,
                            v1::DecideResponse::Kind kind = v1::DecideResponse::KIND_FINAL) {
  v1::DecideResponse response;
  response.set_kind(kind);
  response.set_label(label);
  response.set_label_index(index);
  response.add_probabilities(1 - probability);
  response.add_probabilities(probability);
  return response;
}

class AnswerReaderTest : public testing::Test {
 protected:
  template <typename Message>
  std::string Check(const RequestSpec& spec, const std::vector<Message>& messages) {
    AnswerReader reader(spec, workload_);
    double now = 1;
    for (const Message& message : messages) {
      grpc::ByteBuffer bytes = Bytes(message);
      reader.Read(bytes, now, scratch_, log_);
      now += 1;
    }
    record_ = reader.record();
    return reader.Check(&memory_);
  }

  static RequestSpec Generate(uint32_t output_len) {
    RequestSpec spec;
    spec.output_len = output_len;
    return spec;
  }

  static RequestSpec Decide(Mode mode) {
    RequestSpec spec;
    spec.kind = Kind::kDecide;
    spec.mode = mode;
    return spec;
  }

  const Workload workload_ = MakeWorkload();
  AnswerScratch scratch_;
  AnswerMemory memory_;
  RunLog log_;
  RequestRecord record_;
};

TEST_F(AnswerReaderTest, TimesMessagesWithTokensOnly) {
  EXPECT_EQ(
      Check<v1::GenerateResponse>(Generate(3), {Tokens(0), Tokens(1), Tokens(2), Tokens(0, 3)}),
      "");
  EXPECT_EQ(record_.first, 2);
  EXPECT_EQ(record_.last, 3);
  EXPECT_EQ(record_.output_tokens, 3u);
  EXPECT_EQ(log_.itls, std::vector<float>{1});
}

TEST_F(AnswerReaderTest, FindsAMissingFinish) {
  EXPECT_NE(Check<v1::GenerateResponse>(Generate(2), {Tokens(2)}), "");
}

TEST_F(AnswerReaderTest, FindsAWrongUsage) {
  EXPECT_NE(Check<v1::GenerateResponse>(Generate(2), {Tokens(2, 1)}), "");
}

TEST_F(AnswerReaderTest, FindsTooFewTokensWhenEosIsIgnored) {
  EXPECT_NE(Check<v1::GenerateResponse>(Generate(3), {Tokens(2, 2)}), "");
}

TEST_F(AnswerReaderTest, FindsMessagesAfterTheFinish) {
  EXPECT_NE(Check<v1::GenerateResponse>(Generate(2), {Tokens(2, 2), Tokens(0)}), "");
}

TEST_F(AnswerReaderTest, ReadsADecision) {
  EXPECT_EQ(Check<v1::DecideResponse>(Decide(Mode::kExact), {Decision(" no", 1, 0.75)}), "");
  EXPECT_EQ(record_.correct, 1);
}

TEST_F(AnswerReaderTest, AcceptsAnEarlyAnswerInModeVerified) {
  const auto early = Decision(" yes", 0, 0.25, v1::DecideResponse::KIND_EARLY);
  const auto final = Decision(" no", 1, 0.75);
  EXPECT_EQ(Check<v1::DecideResponse>(Decide(Mode::kVerified), {early, final}), "");
  EXPECT_TRUE(record_.early);
  EXPECT_EQ(record_.first, 1);
  EXPECT_EQ(record_.last, 2);
  EXPECT_NE(Check<v1::DecideResponse>(Decide(Mode::kExact), {early, final}), "");
}

TEST_F(AnswerReaderTest, FindsALabelThatWasNotAskedFor) {
  EXPECT_NE(Check<v1::DecideResponse>(Decide(Mode::kExact), {Decision(" maybe", 1, 0.5)}), "");
  EXPECT_NE(Check<v1::DecideResponse>(Decide(Mode::kExact), {Decision(" no", 0, 0.5)}), "");
}

TEST_F(AnswerReaderTest, FindsProbabilitiesThatDoNotSumToOne) {
  v1::DecideResponse response = Decision(" no", 1, 0.75);
  response.set_probabilities(0, 0.5);
  EXPECT_NE(Check<v1::DecideResponse>(Decide(Mode::kExact), {response}), "");
}

TEST_F(AnswerReaderTest, FindsTwoFinalAnswers) {
  const auto final = Decision(" no", 1, 0.75);
  EXPECT_NE(Check<v1::DecideResponse>(Decide(Mode::kExact), {final, final}), "");
}

TEST_F(AnswerReaderTest, FindsAnExactDecisionThatChanged) {
  const RequestSpec exact = Decide(Mode::kExact);
  EXPECT_EQ(Check<v1::DecideResponse>(exact, {Decision(" no", 1, 0.75)}), "");
  EXPECT_EQ(Check<v1::DecideResponse>(exact, {Decision(" no", 1, 0.75)}), "");
  EXPECT_NE(Check<v1::DecideResponse>(exact, {Decision(" no", 1, 0.7500001f)}), "");
}

TEST_F(AnswerReaderTest, FindsACopyOfABurstThatDiffers) {
  RequestSpec copy = Generate(2);
  copy.num_copies = 5;
  v1::GenerateResponse other = Tokens(2, 2);
  other.set_token_ids(1, 6);
  EXPECT_EQ(Check<v1::GenerateResponse>(copy, {Tokens(2, 2)}), "");
  EXPECT_EQ(Check<v1::GenerateResponse>(copy, {Tokens(1), Tokens(1, 2)}), "");
  EXPECT_NE(Check<v1::GenerateResponse>(copy, {other}), "");
}

TEST(IsExpectedCodeTest, FollowsFromTheFault) {
  RequestSpec spec;
  EXPECT_TRUE(IsExpectedCode(spec, grpc::OK));
  EXPECT_TRUE(IsExpectedCode(spec, grpc::RESOURCE_EXHAUSTED));
  EXPECT_FALSE(IsExpectedCode(spec, grpc::CANCELLED));
  EXPECT_FALSE(IsExpectedCode(spec, grpc::DEADLINE_EXCEEDED));
  EXPECT_FALSE(IsExpectedCode(spec, grpc::INTERNAL));
  spec.fault = Fault::kCancel;
  EXPECT_TRUE(IsExpectedCode(spec, grpc::CANCELLED));
  EXPECT_FALSE(IsExpectedCode(spec, grpc::DEADLINE_EXCEEDED));
  spec.fault = Fault::kDeadline;
  EXPECT_TRUE(IsExpectedCode(spec, grpc::DEADLINE_EXCEEDED));
  EXPECT_FALSE(IsExpectedCode(spec, grpc::CANCELLED));
}

TEST(IsExpectedCodeTest, InvalidRequestsMustBeRefused) {
  RequestSpec spec;
  spec.fault = Fault::kInvalid;
  spec.invalid = InvalidRequest::kNoPrompt;
  EXPECT_FALSE(IsExpectedCode(spec, grpc::OK));
  EXPECT_TRUE(IsExpectedCode(spec, grpc::INVALID_ARGUMENT));
  EXPECT_FALSE(IsExpectedCode(spec, grpc::INTERNAL));
}

TEST(IsExpectedCodeTest, OnlyEarlyExitsMayLackACalibration) {
  RequestSpec spec;
  spec.kind = Kind::kDecide;
  spec.mode = Mode::kFast;
  EXPECT_TRUE(IsExpectedCode(spec, grpc::FAILED_PRECONDITION));
  spec.mode = Mode::kExact;
  EXPECT_FALSE(IsExpectedCode(spec, grpc::FAILED_PRECONDITION));
}

}  // namespace
}  // namespace spade::loadtest
