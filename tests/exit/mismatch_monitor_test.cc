#include "engine/exit/mismatch_monitor.h"

#include <gtest/gtest.h>

#include <random>

namespace spade {
namespace {

TEST(MismatchMonitorTest, KnowsNothingAtFirst) {
  const MismatchMonitor monitor(0.01, 0.95);
  EXPECT_EQ(monitor.lower(), 0);
  EXPECT_EQ(monitor.upper(), 1);
  EXPECT_FALSE(monitor.Breached());
}

TEST(MismatchMonitorTest, BoundsEncloseTheObservedRate) {
  MismatchMonitor monitor(0.05, 0.95);
  for (int i = 0; i < 1000; ++i) monitor.Observe(i % 20 == 0);
  EXPECT_LT(monitor.lower(), 0.05);
  EXPECT_GT(monitor.upper(), 0.05);
  EXPECT_GT(monitor.lower(), 0.02);
  EXPECT_LT(monitor.upper(), 0.10);
}

TEST(MismatchMonitorTest, MoreTrialsNarrowTheBounds) {
  MismatchMonitor monitor(0.05, 0.95);
  for (int i = 0; i < 200; ++i) monitor.Observe(i % 20 == 0);
  const double early = monitor.upper() - monitor.lower();
  for (int i = 0; i < 5000; ++i) monitor.Observe(i % 20 == 0);
  EXPECT_LT(monitor.upper() - monitor.lower(), early / 2);
}

TEST(MismatchMonitorTest, FindsARateWellAboveTheLimit) {
  MismatchMonitor monitor(0.01, 0.95);
  std::mt19937 random(3);
  std::bernoulli_distribution mismatch(0.04);
  while (!monitor.Breached() && monitor.trials() < 2000) monitor.Observe(mismatch(random));
  EXPECT_TRUE(monitor.Breached());
  EXPECT_GT(monitor.lower(), 0.0099);
}

TEST(MismatchMonitorTest, OnlyMismatchesReachTheUpperEnd) {
  MismatchMonitor monitor(0.01, 0.95);
  for (int i = 0; i < 10; ++i) monitor.Observe(true);
  EXPECT_TRUE(monitor.Breached());
  EXPECT_EQ(monitor.upper(), 1);
}

// Looked at after every trial, a rate at the limit is called a breach in at most 5 % of runs.
TEST(MismatchMonitorTest, ALookAfterEveryTrialKeepsThePromise) {
  std::mt19937 random(5);
  int alarms = 0;
  constexpr int kRuns = 400;
  for (int run = 0; run < kRuns; ++run) {
    MismatchMonitor monitor(0.02, 0.95);
    std::bernoulli_distribution mismatch(0.02);
    bool breached = false;
    for (int i = 0; i < 3000 && !breached; ++i) {
      monitor.Observe(mismatch(random));
      breached = monitor.Breached();
    }
    alarms += breached ? 1 : 0;
  }
  EXPECT_LE(alarms, kRuns / 20);
}

}  // namespace
}  // namespace spade
