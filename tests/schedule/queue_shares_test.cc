#include "engine/schedule/queue_shares.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

using Verdict = QueueShares::Verdict;

QueueShares Queue(int32_t requests, int64_t tokens, std::map<std::string, double> weights = {}) {
  return QueueShares({requests, tokens}, TenantWeights(std::move(weights)));
}

TEST(QueueSharesTest, OneTenantMayHaveItAll) {
  QueueShares queue = Queue(3, 100);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.Offer("a", 1).verdict, Verdict::kAccepted);
  EXPECT_EQ(queue.Offer("a", 1).verdict, Verdict::kTooManyRequests);
  queue.Remove("a", 1);
  EXPECT_EQ(queue.Offer("a", 1).verdict, Verdict::kAccepted);
}

TEST(QueueSharesTest, SaysForWhomItIsFull) {
  QueueShares queue = Queue(2, 100);
  queue.Offer("a", 1);
  EXPECT_FALSE(queue.IsFullFor("a"));
  queue.Offer("a", 1);
  EXPECT_TRUE(queue.IsFullFor("a"));
  EXPECT_FALSE(queue.IsFullFor("b")) << "it would take the place of one of a's";
  queue.Remove("a", 1);
  EXPECT_FALSE(queue.IsFullFor("a"));
}

TEST(QueueSharesTest, BoundsTokensButForOneAlone) {
  QueueShares queue = Queue(10, 100);
  EXPECT_EQ(queue.Offer("a", 500).verdict, Verdict::kAccepted);
  EXPECT_EQ(queue.Offer("a", 1).verdict, Verdict::kTooManyTokens);
}

TEST(QueueSharesTest, OneBelowItsShareTakesThePlaceOfTheOneWithMost) {
  QueueShares queue = Queue(4, 100);
  for (int i = 0; i < 4; ++i) queue.Offer("greedy", 1);
  for (int i = 0; i < 2; ++i) {
    const QueueShares::Answer answer = queue.Offer("late", 1);
    ASSERT_EQ(answer.verdict, Verdict::kAccepted);
    ASSERT_TRUE(answer.shed);
    EXPECT_EQ(answer.shed->tenant, "greedy");
    EXPECT_EQ(answer.shed->requests, 1);
  }
  EXPECT_EQ(queue.Offer("late", 1).verdict, Verdict::kTooManyRequests) << "it has its half";
}

TEST(QueueSharesTest, WeightsMoveTheShares) {
  QueueShares queue = Queue(4, 100, {{"late", 3}});
  for (int i = 0; i < 4; ++i) queue.Offer("greedy", 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.Offer("late", 1).verdict, Verdict::kAccepted);
  EXPECT_EQ(queue.Offer("late", 1).verdict, Verdict::kTooManyRequests);
}

TEST(QueueSharesTest, TokensAreSharedToo) {
  QueueShares queue = Queue(100, 100);
  for (int i = 0; i < 10; ++i) queue.Offer("greedy", 10);
  const QueueShares::Answer answer = queue.Offer("late", 40);
  ASSERT_EQ(answer.verdict, Verdict::kAccepted);
  ASSERT_TRUE(answer.shed);
  EXPECT_EQ(answer.shed->tokens, 40);
  EXPECT_EQ(queue.Offer("late", 20).verdict, Verdict::kTooManyTokens) << "60 would exceed half";
}

TEST(QueueSharesTest, NobodyTakesTurnsAtDisplacingAnEqual) {
  QueueShares queue = Queue(1, 100);
  queue.Offer("a", 1);
  EXPECT_EQ(queue.Offer("b", 1).verdict, Verdict::kTooManyRequests);
}

TEST(QueueSharesTest, WhatIsHeldIsBoundedWhileNothingIsShedYet) {
  QueueShares queue = Queue(10, 1000);
  for (int i = 0; i < 10; ++i) queue.Offer("greedy", 1);
  for (int tenant = 0; tenant < 100; ++tenant) queue.Offer(std::to_string(tenant), 1);
  EXPECT_LE(queue.requests(), 20);
}

TEST(QueueSharesTest, OnceShedTheRoomIsAsBefore) {
  QueueShares queue = Queue(2, 100);
  queue.Offer("greedy", 1);
  queue.Offer("greedy", 1);
  const QueueShares::Answer answer = queue.Offer("late", 1);
  ASSERT_TRUE(answer.shed);
  queue.Remove("greedy", 1);
  queue.OnShed(*answer.shed);
  EXPECT_EQ(queue.requests(), 2);
  EXPECT_EQ(queue.Offer("greedy", 1).verdict, Verdict::kTooManyRequests);
}

}  // namespace
}  // namespace spade
