#include "engine/schedule/stage_costs.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

TEST(StageCostsTest, KnowsNothingAtFirst) { EXPECT_EQ(StageCosts(2).Predict(0, 5), 0); }

TEST(StageCostsTest, NoRowsCostNothing) {
  StageCosts costs(1);
  costs.Observe(0, 4, 2.0);
  EXPECT_EQ(costs.Predict(0, 0), 0);
}

TEST(StageCostsTest, InterpolatesBetweenWhatWasSeen) {
  StageCosts costs(1);
  costs.Observe(0, 4, 2.0);
  costs.Observe(0, 16, 5.0);
  EXPECT_DOUBLE_EQ(costs.Predict(0, 4), 2.0);
  EXPECT_DOUBLE_EQ(costs.Predict(0, 10), 3.5);
  EXPECT_DOUBLE_EQ(costs.Predict(0, 16), 5.0);
}

TEST(StageCostsTest, FewerRowsThanSeenCostAsMuch) {
  StageCosts costs(1);
  costs.Observe(0, 4, 2.0);
  EXPECT_DOUBLE_EQ(costs.Predict(0, 1), 2.0);
}

TEST(StageCostsTest, MoreRowsThanSeenCostInProportion) {
  StageCosts costs(1);
  costs.Observe(0, 4, 2.0);
  EXPECT_DOUBLE_EQ(costs.Predict(0, 40), 20.0);
}

TEST(StageCostsTest, StagesAreApart) {
  StageCosts costs(2);
  costs.Observe(0, 1, 1.0);
  costs.Observe(1, 1, 3.0);
  EXPECT_DOUBLE_EQ(costs.Predict(1, 1), 3.0);
  EXPECT_DOUBLE_EQ(costs.Predict(0, 2, 1), 4.0);
}

TEST(StageCostsTest, FollowsAMachineThatBecomesSlower) {
  StageCosts costs(1);
  costs.Observe(0, 1, 1.0);
  for (int i = 0; i < 100; ++i) costs.Observe(0, 1, 2.0);
  EXPECT_NEAR(costs.Predict(0, 1), 2.0, 1e-3);
}

}  // namespace
}  // namespace spade
