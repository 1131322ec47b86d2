#include "engine/schedule/drain_rate.h"

#include <gtest/gtest.h>

namespace spade {
namespace {

TEST(DrainRateTest, KnowsNothingAtFirst) { EXPECT_EQ(DrainRate().At(5), 0); }

TEST(DrainRateTest, IsRightSoonAndLater) {
  DrainRate rate;
  double now = 100;
  for (; now < 101; now += 0.01) rate.Add(now, 2);
  EXPECT_NEAR(rate.At(now), 200, 10);
  for (; now < 160; now += 0.01) rate.Add(now, 2);
  EXPECT_NEAR(rate.At(now), 200, 10);
}

TEST(DrainRateTest, ForgetsAfterSomeTensOfSeconds) {
  DrainRate rate;
  for (double now = 0; now < 20; now += 0.1) rate.Add(now, 1);
  EXPECT_GT(rate.At(25), 5);
  EXPECT_LT(rate.At(60), 0.3);
}

}  // namespace
}  // namespace spade
