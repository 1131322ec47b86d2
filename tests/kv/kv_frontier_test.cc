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

TEST(KvFrontierTest, CommitGrowsOneStage) {
  KvFrontier frontier(2);
  frontier.Commit(/*stage=*/0, 5);
  EXPECT_EQ(frontier.filled(0), 5);
  EXPECT_EQ(frontier.filled(1), 0);
}

TEST(KvFrontierTest, CompleteIsTheDeepestStages) {
  KvFrontier frontier(2);
  frontier.Commit(0, 5);
  frontier.Commit(1, 3);
  EXPECT_EQ(frontier.complete(), 3);
}

TEST(KvFrontierTest, TruncateShortensOnlyTheLongerStages) {
  KvFrontier frontier(2);
  frontier.Commit(0, 5);
  frontier.Commit(1, 2);
  frontier.Truncate(3);
  EXPECT_EQ(frontier.filled(0), 3);
  EXPECT_EQ(frontier.filled(1), 2);
}

}  // namespace
}  // namespace spade
