#include "engine/exit/certify.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/exit/thresholds.h"
#include "tests/exit/simulation.h"

namespace spade {
namespace {

const LayerCosts kCosts{12, 0.06, 0.0};

ExitOutcomes OneExit(int64_t prompts, int64_t mismatches) {
  ExitOutcomes outcomes;
  outcomes.rows.assign(static_cast<size_t>(prompts), 10);
  outcomes.exits.push_back(ExitColumn{6, {}, {}});
  for (int64_t p = 0; p < prompts; ++p) {
    outcomes.exits[0].entropies.push_back(0.1f);
    outcomes.exits[0].mismatches.push_back(p < mismatches);
  }
  return outcomes;
}

TEST(Certify, AcceptsExactlyWhatTheBinomialBoundAllows) {
  const std::vector<std::vector<float>> plan = {{0.5f}};
  EXPECT_EQ(Certify(OneExit(299, 0), plan, kCosts, 0.01, 0.95).thresholds[0], 0.5f);
  EXPECT_EQ(Certify(OneExit(298, 0), plan, kCosts, 0.01, 0.95).thresholds[0], 0.0f);
  EXPECT_EQ(Certify(OneExit(1000, 4), plan, kCosts, 0.01, 0.95).thresholds[0], 0.5f);
  EXPECT_EQ(Certify(OneExit(1000, 5), plan, kCosts, 0.01, 0.95).thresholds[0], 0.0f);
}

TEST(Certify, CountsOnlyPromptsThatReachTheExit) {
  ExitOutcomes outcomes = OneExit(1000, 0);
  outcomes.exits.push_back(outcomes.exits[0]);
  outcomes.exits[1].layer = 8;
  for (size_t p = 0; p < 600; ++p) outcomes.exits[0].entropies[p] = 0.9f;
  const std::vector<std::vector<float>> plan = {{0.5f, 0.5f}};
  const Certificate certificate = Certify(outcomes, plan, kCosts, 0.01, 0.95);
  EXPECT_EQ(certificate.exited, (std::vector<int64_t>{400, 600}));
  EXPECT_EQ(certificate.prompts, 1000);
}

TEST(Certify, StopsAtTheFirstVectorThatFails) {
  // The third vector would pass by itself: only the order forbids it.
  ExitOutcomes outcomes = OneExit(1000, 0);
  for (size_t p = 0; p < 20; ++p) {
    outcomes.exits[0].entropies[p] = 0.2f;
    outcomes.exits[0].mismatches[p] = 1;
  }
  const std::vector<std::vector<float>> plan = {{0.15f}, {0.3f}, {0.11f}};
  EXPECT_EQ(Certify(outcomes, plan, kCosts, 0.01, 0.95).thresholds[0], 0.15f);
}

TEST(Certify, ClosesEveryExitWithoutEvidence) {
  const std::vector<std::vector<float>> plan = {{0.5f}};
  const Certificate certificate = Certify(OneExit(100, 0), plan, kCosts, 0.01, 0.95);
  EXPECT_EQ(certificate.thresholds[0], 0.0f);
  EXPECT_EQ(certificate.exited[0], 0);
  EXPECT_EQ(certificate.saving, 0);
}

// Calibrates many times on samples of a known population, and counts how often some exit's true
// rate (from a very large sample) lies above the certified one.
TEST(Certify, BoundIsBrokenInAtMostFivePercentOfCalibrations) {
  constexpr int kRuns = 400;
  constexpr double kMaxMismatch = 0.05;
  const Population population({0.9, 0.5, 0.3});
  std::mt19937_64 rng(17);
  const ExitOutcomes world = population.Draw(100'000, rng);
  int broken = 0;
  int useful = 0;
  for (int run = 0; run < kRuns; ++run) {
    const ExitOutcomes planning = population.Draw(400, rng);
    const ExitOutcomes certification = population.Draw(600, rng);
    const auto plan = PlanThresholds(planning, kCosts, {kMaxMismatch, 0.95, 600});
    const Certificate certificate = Certify(certification, plan, kCosts, kMaxMismatch, 0.95);
    const ExitReplay truth = ReplayExits(world, certificate.thresholds, kCosts);
    bool breaks = false;
    for (size_t e = 0; e < truth.exited.size(); ++e) {
      breaks |= double(truth.mismatched[e]) > kMaxMismatch * double(truth.exited[e]);
    }
    broken += breaks;
    useful += certificate.saving > 0.1;
  }
  // 5 % of 400 is 20; by chance alone 31 are exceeded once in 100 such tests.
  EXPECT_LE(broken, 31);
  EXPECT_GE(useful, kRuns / 2) << "a guarantee that closes every exit would be easy";
}

// What happens without certification: the same thresholds, chosen and believed on one sample.
TEST(Certify, UncertifiedChoiceWouldBreakTheBoundOften) {
  const Population population({0.9, 0.5, 0.3});
  std::mt19937_64 rng(18);
  const ExitOutcomes world = population.Draw(100'000, rng);
  int broken = 0;
  for (int run = 0; run < 60; ++run) {
    const ExitOutcomes planning = population.Draw(400, rng);
    const auto plan = PlanThresholds(planning, kCosts, {0.05, 0.95, 600});
    ASSERT_FALSE(plan.empty());
    const ExitReplay truth = ReplayExits(world, plan.back(), kCosts);
    for (size_t e = 0; e < truth.exited.size(); ++e) {
      if (double(truth.mismatched[e]) > 0.05 * double(truth.exited[e])) {
        ++broken;
        break;
      }
    }
  }
  EXPECT_GT(broken, 12);
}

}  // namespace
}  // namespace spade
