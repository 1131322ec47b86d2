#include "engine/runtime/exit_permit.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace spade {
namespace {

class PermitTest : public ::testing::Test {
 protected:
  PermitTest() {
    model_.config.bos_id = 0;
    Calibration calibration;
    calibration.label_ids = {9, 7, 8};
    calibration.certificates.resize(2);
    calibration.certificates[0].max_mismatch = 0.01;
    calibration.certificates[1].max_mismatch = 0.1;
    model_.calibrations.push_back(calibration);
    request_.context.prompt = {0, 5};
    request_.labels = {7, 8, 9};
    request_.mode = ExitMode::kFast;
    request_.max_mismatch = 0.05;
  }

  absl::StatusOr<ExitPermit> Find() const { return FindPermit(request_, model_); }
  void ExpectRefusal(const std::string& part) const {
    const absl::Status status = Find().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_NE(status.message().find(part), absl::string_view::npos) << status;
  }

  ModelInfo model_;
  DecideRequest request_;
};

TEST_F(PermitTest, LabelsMayBePermuted) {
  const auto permit = Find();
  ASSERT_TRUE(permit.ok()) << permit.status();
  EXPECT_EQ(permit->certificate, &model_.calibrations[0].certificates[0]);
}

TEST_F(PermitTest, ExactNeedsNone) {
  request_.mode = ExitMode::kExact;
  model_.calibrations.clear();
  ASSERT_TRUE(Find().ok());
  EXPECT_EQ(Find()->certificate, nullptr);
}

TEST_F(PermitTest, NothingLoaded) {
  model_.calibrations.clear();
  ExpectRefusal("no calibration is loaded");
}

TEST_F(PermitTest, SaysWhyACalibrationWasLeftOut) {
  model_.calibrations.clear();
  model_.unfit_calibration = "a.safetensors: the weight dtype does not match";
  ExpectRefusal("the weight dtype does not match");
}

TEST_F(PermitTest, OtherLabels) {
  request_.labels = {7, 8};
  ExpectRefusal("labels");
}

TEST_F(PermitTest, StricterThanCertified) {
  request_.max_mismatch = 0.001;
  ExpectRefusal("0.01");
}

TEST_F(PermitTest, PriorsChangeTheAnswer) {
  request_.label_bias = {0, 0, 1};
  ExpectRefusal("label_bias");
  request_.label_bias = {1, 1, 1};
  EXPECT_TRUE(Find().ok());
}

TEST_F(PermitTest, NoStartToken) {
  request_.context.prompt = {5, 6};
  ExpectRefusal("start token");
}

class TokenPermitTest : public ::testing::Test {
 protected:
  TokenPermitTest() {
    model_.config.bos_id = 0;
    model_.token_calibration.emplace();
    model_.token_calibration->certificates.resize(2);
    model_.token_calibration->certificates[0].max_mismatch = 0.01;
    model_.token_calibration->certificates[1].max_mismatch = 0.1;
    request_.context.prompt = {0, 5};
    request_.sampling.temperature = 0;
    request_.mode = ExitMode::kFast;
    request_.max_mismatch = 0.05;
  }

  absl::StatusOr<TokenPermit> Find() const { return FindPermit(request_, model_); }
  void ExpectRefusal(const std::string& part) const {
    const absl::Status status = Find().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_NE(status.message().find(part), absl::string_view::npos) << status;
  }

  ModelInfo model_;
  GenerateRequest request_;
};

TEST_F(TokenPermitTest, TheLoosestCertificateWithinTheBound) {
  ASSERT_TRUE(Find().ok()) << Find().status();
  EXPECT_EQ(Find()->certificate, &model_.token_calibration->certificates[0]);
}

TEST_F(TokenPermitTest, ExactNeedsNone) {
  request_.mode = ExitMode::kExact;
  model_.token_calibration.reset();
  ASSERT_TRUE(Find().ok());
  EXPECT_EQ(Find()->calibration, nullptr);
}

TEST_F(TokenPermitTest, NothingLoaded) {
  model_.token_calibration.reset();
  ExpectRefusal("spade-calibrate --generate");
}

TEST_F(TokenPermitTest, FastIsGreedy) {
  request_.sampling.temperature = 0.5f;
  ExpectRefusal("greedy");
}

TEST_F(TokenPermitTest, FastHasNoPenalties) {
  request_.sampling.repetition_penalty = 1.1f;
  ExpectRefusal("penalties");
}

TEST_F(TokenPermitTest, FastHasNoLogprobs) {
  request_.sampling.num_logprobs = 0;
  ExpectRefusal("logprobs");
}

TEST_F(TokenPermitTest, StricterThanCertified) {
  request_.max_mismatch = 0.001;
  ExpectRefusal("0.01");
}

TEST_F(TokenPermitTest, NoStartToken) {
  request_.context.prompt = {5, 6};
  ExpectRefusal("start token");
}

TEST_F(TokenPermitTest, VerifiedNeedsACalibrationOnly) {
  request_.mode = ExitMode::kVerified;
  request_.max_mismatch = 0;
  request_.sampling.temperature = 1;
  request_.sampling.num_logprobs = 3;
  model_.token_calibration->certificates.clear();
  ASSERT_TRUE(Find().ok()) << Find().status();
  EXPECT_EQ(Find()->calibration, &*model_.token_calibration);
}

}  // namespace
}  // namespace spade
