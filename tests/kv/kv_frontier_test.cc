#include "engine/kv/kv_frontier.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

TEST(KvFrontierTest, StartsEmpty) {
  const KvFrontier frontier(3);
  EXPECT_EQ(frontier.num_stages(), 3);
  EXPECT_EQ(frontier.filled(0), 0);
  EXPECT_EQ(frontier.complete(), 0);
}

TEST(KvFrontierTest, FillGrowsTheUpperStagesOnly) {
  KvFrontier frontier(3);
  frontier.Fill(/*depth=*/2, /*end=*/5);
  EXPECT_EQ(frontier.filled(0), 5);
  EXPECT_EQ(frontier.filled(1), 5);
  EXPECT_EQ(frontier.filled(2), 0);
}

TEST(KvFrontierTest, CompleteIsTheDeepestStages) {
  KvFrontier frontier(2);
  frontier.Fill(2, 3);
  frontier.Fill(1, 5);
  EXPECT_EQ(frontier.complete(), 3);
}

TEST(KvFrontierTest, TruncateShortensOnlyTheLongerStages) {
  KvFrontier frontier(2);
  frontier.Fill(2, 2);
  frontier.Fill(1, 5);
  frontier.Truncate(3);
  EXPECT_EQ(frontier.filled(0), 3);
  EXPECT_EQ(frontier.filled(1), 2);
}

}  // namespace
}  // namespace spade
