#include "engine/schedule/tenant_shares.h"

#include <gtest/gtest.h>

#include <string>

namespace spade {
namespace {

TenantShares Shares(std::map<std::string, double> weights = {}, int32_t max_tenants = 8) {
  return TenantShares(TenantWeights(std::move(weights)), max_tenants);
}

// Serves the first of two that always wait, `tokens` at a time, `turns` times.
void Serve(TenantShares& shares, TenantIndex a, TenantIndex b, int turns, int64_t tokens = 10) {
  for (int i = 0; i < turns; ++i) shares.Charge(shares.Precedes(a, b) ? a : b, tokens);
}

TEST(TenantSharesTest, EqualWeightsGetEqualService) {
  TenantShares shares = Shares();
  const TenantIndex a = shares.Enter("a");
  const TenantIndex b = shares.Enter("b");
  Serve(shares, a, b, 100);
  EXPECT_EQ(shares.service(a), 500);
  EXPECT_EQ(shares.service(b), 500);
}

TEST(TenantSharesTest, WeightsDivideTheTokens) {
  TenantShares shares = Shares({{"a", 3}});
  const TenantIndex a = shares.Enter("a");
  const TenantIndex b = shares.Enter("b");
  Serve(shares, a, b, 400);
  EXPECT_NEAR(3 * shares.service(a), 3000, 10) << "tokens of a";
  EXPECT_NEAR(shares.service(b), 1000, 10);
}

TEST(TenantSharesTest, OneThatWasAwayHasSavedNothingUp) {
  TenantShares shares = Shares();
  const TenantIndex greedy = shares.Enter("greedy");
  shares.Enter("greedy");
  shares.Charge(greedy, 1'000'000);
  const TenantIndex late = shares.Enter("late");
  EXPECT_TRUE(shares.Precedes(late, greedy)) << "it is next all the same";
  shares.Charge(late, 1);
  EXPECT_TRUE(shares.Precedes(greedy, late));
}

TEST(TenantSharesTest, OneThatGoesAndComesBackKeepsItsDebt) {
  TenantShares shares = Shares();
  const TenantIndex patient = shares.Enter("patient");
  TenantIndex greedy = shares.Enter("greedy");
  shares.Charge(greedy, 500);
  shares.StopWaiting(greedy);
  shares.Leave(greedy, /*was_waiting=*/false);
  greedy = shares.Enter("greedy");
  EXPECT_EQ(shares.service(greedy), 500);
  EXPECT_TRUE(shares.Precedes(patient, greedy));
}

TEST(TenantSharesTest, WhatWasServedToOneAloneIsNoDebt) {
  TenantShares shares = Shares();
  const TenantIndex alone = shares.Enter("alone");
  shares.Charge(alone, 1'000'000);
  shares.Leave(alone, /*was_waiting=*/true);
  const TenantIndex other = shares.Enter("other");
  EXPECT_EQ(shares.service(other), 1'000'000);
}

TEST(TenantSharesTest, RankSaysWhetherTheOrderChanged) {
  TenantShares shares = Shares();
  const TenantIndex a = shares.Enter("a");
  const TenantIndex b = shares.Enter("b");
  shares.Charge(b, 1);
  shares.Rank();
  EXPECT_LT(shares.rank(a), shares.rank(b));
  EXPECT_FALSE(shares.Rank());
  shares.Charge(a, 2);
  EXPECT_LT(shares.rank(a), shares.rank(b)) << "fixed until the next call";
  EXPECT_TRUE(shares.Rank());
  EXPECT_LT(shares.rank(b), shares.rank(a));
}

TEST(TenantSharesTest, NamesBeyondTheBoundShareOnePlace) {
  TenantShares shares = Shares({}, 2);
  EXPECT_NE(shares.Enter("a"), TenantShares::kOthers);
  EXPECT_NE(shares.Enter("b"), TenantShares::kOthers);
  EXPECT_EQ(shares.Enter("c"), TenantShares::kOthers);
  EXPECT_EQ(shares.Enter("d"), TenantShares::kOthers);
}

TEST(TenantSharesTest, TheTableDoesNotGrowWithTheNamesThatWereSeen) {
  TenantShares shares = Shares({}, 4);
  for (int i = 0; i < 1000; ++i) {
    const TenantIndex index = shares.Enter(std::to_string(i));
    EXPECT_NE(index, TenantShares::kOthers);
    EXPECT_LE(index, 4);
    shares.Leave(index, /*was_waiting=*/true);
  }
  EXPECT_LE(shares.num_known(), 4u);
}

}  // namespace
}  // namespace spade
