#include "server/auth/quota.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/reason.h"

namespace spade {
namespace {

using std::chrono::milliseconds;

class QuotaTest : public ::testing::Test {
 protected:
  absl::StatusOr<Admission> AdmitAt(int milliseconds_from_start) {
    return quota_->Admit(start_ + milliseconds(milliseconds_from_start));
  }

  prometheus::Counter in_flight_refusals_;
  prometheus::Counter rate_refusals_;
  const std::shared_ptr<Quota> quota_ =
      std::make_shared<Quota>("alice", &in_flight_refusals_, &rate_refusals_);

 private:
  const Quota::Time start_ = std::chrono::steady_clock::now();
};

TEST_F(QuotaTest, WithoutLimitsEverythingIsAdmitted) {
  std::vector<Admission> admissions;
  for (int i = 0; i < 1000; ++i) {
    auto admission = AdmitAt(0);
    ASSERT_TRUE(admission.ok());
    admissions.push_back(*std::move(admission));
  }
}

TEST_F(QuotaTest, InFlightCountsWhatHasNotEnded) {
  quota_->SetLimits({2, std::nullopt});
  auto first = AdmitAt(0);
  const auto second = AdmitAt(0);
  ASSERT_TRUE(first.ok() && second.ok());
  const auto third = AdmitAt(0);
  EXPECT_TRUE(absl::IsResourceExhausted(third.status()));
  EXPECT_NE(third.status().message().find("alice"), std::string::npos) << third.status();
  EXPECT_EQ(in_flight_refusals_.Value(), 1);
  first = absl::CancelledError();  // it ends
  EXPECT_TRUE(AdmitAt(0).ok());
}

TEST_F(QuotaTest, AMovedAdmissionEndsOnce) {
  quota_->SetLimits({1, std::nullopt});
  {
    Admission moved = *AdmitAt(0);
    Admission again = std::move(moved);
    EXPECT_FALSE(AdmitAt(0).ok());
  }
  const auto next = AdmitAt(0);
  ASSERT_TRUE(next.ok());
  EXPECT_FALSE(AdmitAt(0).ok()) << "one end freed two places";
}

TEST_F(QuotaTest, RateAllowsASecondsWorthAtOnce) {
  quota_->SetLimits({std::nullopt, 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(AdmitAt(0).ok());
  EXPECT_FALSE(AdmitAt(0).ok());
  EXPECT_TRUE(AdmitAt(334).ok());
  EXPECT_FALSE(AdmitAt(335).ok());
  EXPECT_EQ(rate_refusals_.Value(), 2);
}

TEST_F(QuotaTest, SlowRatesAllowOneAtATime) {
  quota_->SetLimits({std::nullopt, 0.5});
  EXPECT_TRUE(AdmitAt(0).ok());
  EXPECT_FALSE(AdmitAt(1999).ok());
  EXPECT_TRUE(AdmitAt(2001).ok());
  EXPECT_FALSE(AdmitAt(2002).ok());
}

TEST_F(QuotaTest, UnusedCreditIsBounded) {
  quota_->SetLimits({std::nullopt, 2});
  int admitted = 0;
  while (AdmitAt(3'600'000).ok()) ++admitted;
  EXPECT_EQ(admitted, 2);
}

TEST_F(QuotaTest, ARefusalSaysHowLongToWait) {
  quota_->SetLimits({std::nullopt, 0.5});
  ASSERT_TRUE(AdmitAt(0).ok());
  const absl::Status status = AdmitAt(500).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), Reason::kTenantLimit);
  EXPECT_EQ(RetryAfterOf(status), milliseconds(1500));
}

}  // namespace
}  // namespace spade
