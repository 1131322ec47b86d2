#include "engine/schedule/hold_policy.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

// Two stages, each as dear as the other, and a head that is free.
StageCosts Costs(double (*seconds)(int64_t rows)) {
  StageCosts costs(2 + kExtraCosts);
  for (const int64_t rows : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    costs.Observe(0, rows, seconds(rows));
    costs.Observe(1, rows, seconds(rows));
    costs.Observe(2 + kHeadCost, rows, 1e-9);
  }
  return costs;
}
// Seconds do not depend on rows (bandwidth), or are in proportion to them (arithmetic).
StageCosts Bandwidth() {
  return Costs([](int64_t) { return 1.0; });
}
StageCosts Arithmetic() {
  return Costs([](int64_t rows) { return 0.1 * static_cast<double>(rows); });
}

HoldSituation Situation(double deeper_share, int32_t num_sequences = 16) {
  return {.boundary = 1,
          .num_stages = 2,
          .num_sequences = num_sequences,
          .max_parked = 7,
          .deeper_share = deeper_share};
}

TEST(HoldPolicyTest, FewDeeperRowsWaitWhereWeightsAreStreamedForThem) {
  // At once: 16 tokens in 2 s. Eight waiting: 12 in 1 + 0.3 s.
  EXPECT_EQ(ChooseHold(Situation(0.2), Bandwidth()), 8);
}

// A large batch of rare rows would keep many standing still for long.
TEST(HoldPolicyTest, TheRarerTheyAreTheFewerWaitForEachOther) {
  EXPECT_EQ(ChooseHold(Situation(0.2, 64), Bandwidth()), 32);
  EXPECT_EQ(ChooseHold(Situation(0.05, 64), Bandwidth()), 16);
}

TEST(HoldPolicyTest, NobodyWaitsWhereArithmeticIsTheLimit) {
  EXPECT_EQ(ChooseHold(Situation(0.2), Arithmetic()), 0);
}

TEST(HoldPolicyTest, NobodyWaitsWhereMostRowsGoDeeper) {
  EXPECT_EQ(ChooseHold(Situation(0.8), Bandwidth()), 0);
}

TEST(HoldPolicyTest, NobodyWaitsWhereNothingIsMeasured) {
  EXPECT_EQ(ChooseHold(Situation(0.2), StageCosts(2 + kExtraCosts)), 0);
}

TEST(HoldPolicyTest, OneSequenceHasNobodyToWaitFor) {
  EXPECT_EQ(ChooseHold(Situation(0.2, 1), Bandwidth()), 0);
}

TEST(HoldPolicyTest, LearnsTheShareThatGoesDeeper) {
  HoldPolicy policy({}, 2);
  const StageCosts costs = Bandwidth();
  EXPECT_FALSE(policy.Waits(1, 2, Situation(0), costs));  // all did, as far as it knows
  for (int i = 0; i < 200; ++i) policy.Observe(1, 10, 2);
  EXPECT_TRUE(policy.Waits(1, 2, Situation(0), costs));
  EXPECT_FALSE(policy.Waits(1, 8, Situation(0), costs));
}

TEST(HoldPolicyTest, NoMoreAreWaitedForThanThereAre) {
  HoldPolicy policy({.longest_wait = 1, .batch = 8}, 2);
  EXPECT_FALSE(policy.Waits(1, 3, Situation(0.2, 3), Bandwidth()));
}

TEST(PatienceTest, WithoutADeadlineItIsTheLongestWait) {
  EXPECT_EQ(Patience({.tokens_left = 1000, .seconds_per_token = 1}, 0.1), 0.1);
}

TEST(PatienceTest, ADeadlineLeavesWhatTheOtherTokensDoNotNeed) {
  const Urgency urgency{.seconds_left = 2.0, .tokens_left = 39, .seconds_per_token = 0.05};
  EXPECT_NEAR(Patience(urgency, 0.1), 0.05, 1e-9);
  EXPECT_NEAR(Patience(urgency, 0.02), 0.02, 1e-9);
}

TEST(PatienceTest, WhatIsLateAlreadyDoesNotWait) {
  EXPECT_EQ(Patience({.seconds_left = 1.0, .tokens_left = 30, .seconds_per_token = 0.05}, 0.1), 0);
  EXPECT_EQ(Patience({.seconds_left = -1.0}, 0.1), 0);
}

TEST(PatienceTest, WhoRanksAboveAnotherDoesNotWait) {
  EXPECT_EQ(Patience({.priority = 0, .lowest_priority = 3}, 0.1), 0);
  EXPECT_EQ(Patience({.priority = 3, .lowest_priority = 3}, 0.1), 0.1);
}

}  // namespace
}  // namespace spade
