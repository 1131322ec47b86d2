#include "loadtest/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "spade/v1/inference.pb.h"

namespace spade::loadtest {
namespace {

constexpr uint32_t kVocabSize = 50;
constexpr uint32_t kBos = 7;
constexpr uint32_t kEos = 8;

ModelFacts Model() { return {"tiny", kVocabSize, 256, true, kBos, {kEos}}; }

WorkloadOptions Options() {
  WorkloadOptions options;
  options.input_lens = *Lengths::Parse("10:20");
  options.output_lens = *Lengths::Parse("1:40");
  options.labels = {" yes", " no"};
  return options;
}

v1::GenerateRequest Generate(const Workload& workload, uint64_t index) {
  v1::GenerateRequest request;
  EXPECT_TRUE(request.ParseFromString(workload.MakePayload(workload.MakeSpec(index))));
  return request;
}

TEST(WorkloadTest, SameSeedSameRequests) {
  const Workload a = *Workload::Make(Options(), Model());
  const Workload b = *Workload::Make(Options(), Model());
  WorkloadOptions other = Options();
  other.seed = 2;
  const Workload c = *Workload::Make(other, Model());
  EXPECT_EQ(a.MakePayload(a.MakeSpec(5)), b.MakePayload(b.MakeSpec(5)));
  EXPECT_NE(a.MakePayload(a.MakeSpec(5)), c.MakePayload(c.MakeSpec(5)));
  EXPECT_NE(a.MakePayload(a.MakeSpec(5)), a.MakePayload(a.MakeSpec(6)));
}

TEST(WorkloadTest, RandomPromptsHaveTheLengthDrawnAndNoSpecialTokenButTheFirst) {
  const Workload workload = *Workload::Make(Options(), Model());
  for (uint64_t index = 0; index < 200; ++index) {
    const v1::GenerateRequest request = Generate(workload, index);
    const auto& ids = request.token_ids().ids();
    EXPECT_EQ(static_cast<uint32_t>(ids.size()), workload.MakeSpec(index).input_len);
    EXPECT_GE(ids.size(), 10);
    EXPECT_LE(ids.size(), 20);
    EXPECT_EQ(ids[0], kBos);
    const bool plain = std::all_of(ids.begin() + 1, ids.end(), [](uint32_t id) {
      return id < kVocabSize && id != kBos && id != kEos;
    });
    EXPECT_TRUE(plain) << index;
  }
}

TEST(WorkloadTest, FixesTheOutputLength) {
  const Workload workload = *Workload::Make(Options(), Model());
  const v1::GenerateRequest request = Generate(workload, 3);
  EXPECT_EQ(request.stopping().max_tokens(), workload.MakeSpec(3).output_len);
  EXPECT_TRUE(request.stopping().ignore_eos());
  EXPECT_EQ(request.sampling().temperature(), 0);
}

TEST(WorkloadTest, SharedPrefixIsTheSameInEveryPrompt) {
  WorkloadOptions options = Options();
  options.shared_prefix_len = 8;
  const Workload workload = *Workload::Make(options, Model());
  const v1::GenerateRequest a = Generate(workload, 0);
  const v1::GenerateRequest b = Generate(workload, 1);
  const auto& x = a.token_ids().ids();
  const auto& y = b.token_ids().ids();
  EXPECT_TRUE(std::equal(x.begin(), x.begin() + 8, y.begin()));
  EXPECT_FALSE(std::equal(x.begin(), x.begin() + 10, y.begin()));
}

TEST(WorkloadTest, ColdRequestsShareNoCacheSalt) {
  WorkloadOptions options = Options();
  EXPECT_EQ(Generate(*Workload::Make(options, Model()), 0).cache_salt(), "");
  options.cold_salt = "run";
  const Workload workload = *Workload::Make(options, Model());
  EXPECT_NE(Generate(workload, 0).cache_salt(), Generate(workload, 1).cache_salt());
}

TEST(WorkloadTest, DecideShareIsKept) {
  WorkloadOptions options = Options();
  options.decide_share = 0.3;
  const Workload workload = *Workload::Make(options, Model());
  int num_decides = 0;
  for (uint64_t i = 0; i < 10'000; ++i) num_decides += workload.MakeSpec(i).kind == Kind::kDecide;
  EXPECT_NEAR(num_decides / 1e4, 0.3, 0.02);
}

TEST(WorkloadTest, DecideCarriesPromptLabelsAndMode) {
  WorkloadOptions options = Options();
  options.decide_share = 1;
  options.decide_prompts = {{"Is it?", " yes"}};
  options.decide_modes = {Mode::kFast};
  options.max_mismatch = 0.05;
  const Workload workload = *Workload::Make(options, Model());
  v1::DecideRequest request;
  ASSERT_TRUE(request.ParseFromString(workload.MakePayload(workload.MakeSpec(0))));
  EXPECT_EQ(request.text(), "Is it?");
  EXPECT_EQ(request.labels(1), " no");
  EXPECT_EQ(request.mode(), v1::MODE_FAST);
  EXPECT_EQ(request.max_mismatch(), 0.05);
}

TEST(WorkloadTest, GenerateContinuesThePromptsWhereAskedTo) {
  WorkloadOptions options = Options();
  options.decide_prompts = {{"Is it?", " yes"}};
  v1::GenerateRequest request;
  Workload workload = *Workload::Make(options, Model());
  ASSERT_TRUE(request.ParseFromString(workload.MakePayload(workload.MakeSpec(0))));
  EXPECT_TRUE(request.has_token_ids());
  options.generate_from_prompts = true;
  workload = *Workload::Make(options, Model());
  ASSERT_TRUE(request.ParseFromString(workload.MakePayload(workload.MakeSpec(0))));
  EXPECT_EQ(request.text(), "Is it?");
}

TEST(WorkloadTest, GenerateNamesAMismatchInModeFastOnly) {
  for (const Mode mode : {Mode::kExact, Mode::kVerified, Mode::kFast}) {
    WorkloadOptions options = Options();
    options.generate_modes = {mode};
    options.max_mismatch = 0.05;
    const Workload workload = *Workload::Make(options, Model());
    v1::GenerateRequest request;
    ASSERT_TRUE(request.ParseFromString(workload.MakePayload(workload.MakeSpec(0))));
    EXPECT_EQ(request.mode(), static_cast<v1::Mode>(mode));
    EXPECT_EQ(request.max_mismatch(), mode == Mode::kFast ? 0.05 : 0);
  }
}

TEST(WorkloadTest, ExactDecisionsNameNoMismatch) {
  WorkloadOptions options = Options();
  options.decide_share = 1;
  const Workload workload = *Workload::Make(options, Model());
  v1::DecideRequest request;
  ASSERT_TRUE(request.ParseFromString(workload.MakePayload(workload.MakeSpec(0))));
  EXPECT_EQ(request.mode(), v1::MODE_EXACT);
  EXPECT_EQ(request.max_mismatch(), 0);
}

TEST(WorkloadTest, ReplaysTheTraceRowByRow) {
  WorkloadOptions options = Options();
  options.trace = {{0, 11, 2}, {1, 13, 4}};
  const Workload workload = *Workload::Make(options, Model());
  EXPECT_EQ(workload.MakeSpec(0).input_len, 11u);
  EXPECT_EQ(workload.MakeSpec(1).output_len, 4u);
  EXPECT_EQ(workload.MakeSpec(2).input_len, 11u);
}

TEST(WorkloadTest, RefusesLengthsBeyondTheContext) {
  WorkloadOptions options = Options();
  options.input_lens = *Lengths::Parse("250");
  EXPECT_EQ(Workload::Make(options, Model()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(WorkloadTest, RefusesDecideWithoutLabels) {
  WorkloadOptions options = Options();
  options.decide_share = 1;
  options.labels = {" yes"};
  EXPECT_EQ(Workload::Make(options, Model()).status().code(), absl::StatusCode::kInvalidArgument);
}

// Each variant must be wrong in the way its name says, for both kinds that use it.
TEST(WorkloadTest, InvalidRequestsDifferFromTheValidOne) {
  WorkloadOptions options = Options();
  options.chaos = true;
  options.chaos_mix = *ChaosMix::Parse("invalid:1");
  options.decide_share = 0.5;
  const Workload workload = *Workload::Make(options, Model());
  for (uint64_t index = 0; index < 300; ++index) {
    RequestSpec spec = workload.MakeSpec(index);
    ASSERT_EQ(spec.fault, Fault::kInvalid);
    const std::string invalid = workload.MakePayload(spec);
    spec.fault = Fault::kNone;
    EXPECT_NE(invalid, workload.MakePayload(spec)) << InvalidRequestName(spec.invalid);
  }
}

TEST(WorkloadTest, GarbageBytesDoNotParse) {
  WorkloadOptions options = Options();
  const Workload workload = *Workload::Make(options, Model());
  RequestSpec spec = workload.MakeSpec(0);
  spec.fault = Fault::kInvalid;
  spec.invalid = InvalidRequest::kGarbageBytes;
  v1::GenerateRequest request;
  EXPECT_FALSE(request.ParseFromString(workload.MakePayload(spec)));
}

TEST(ReadDecidePromptsTest, ReadsPromptsAndLabels) {
  const std::string path = testing::TempDir() + "/prompts.jsonl";
  std::ofstream(path)
      << "{\"prompt\": \"a\", \"label\": \" x\", \"k\": 4}\n\n{\"prompt\": \"b\"}\n";
  const absl::StatusOr<std::vector<DecidePrompt>> prompts = ReadDecidePrompts(path);
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 2u);
  EXPECT_EQ((*prompts)[0].label, " x");
  EXPECT_EQ((*prompts)[1].label, "");
}

TEST(ReadDecidePromptsTest, NamesTheLineThatIsWrong) {
  const std::string path = testing::TempDir() + "/bad_prompts.jsonl";
  for (const char* line : {"{\"prompt\": 1}", "{}", "[]", "{\"prompt\"", "7"}) {
    std::ofstream(path) << "{\"prompt\": \"a\"}\n" << line << "\n";
    const absl::Status status = ReadDecidePrompts(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_NE(status.message().find("line 2"), absl::string_view::npos) << status;
  }
}

}  // namespace
}  // namespace spade::loadtest
