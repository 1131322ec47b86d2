#include "engine/exit/choose_exits.h"

#include <gtest/gtest.h>

#include "engine/exit/thresholds.h"
#include "tests/exit/simulation.h"

namespace spade {
namespace {

ExitOutcomes DrawOutcomes(std::vector<double> error_scales, int64_t prompts) {
  std::mt19937_64 rng(5);
  return Population(std::move(error_scales)).Draw(prompts, rng);
}

ChooseOptions Options() {
  ChooseOptions options;
  options.max_mismatches = {0.02, 0.05};
  options.certification_prompts = 2000;
  return options;
}

TEST(ReplayExits, CountsCostsByHand) {
  ExitOutcomes outcomes;
  outcomes.rows = {11, 1};
  outcomes.exits = {ExitColumn{4, {0.1f, 0.9f}, {1, 0}}, ExitColumn{6, {0.1f, 0.1f}, {0, 0}}};
  const LayerCosts costs{8, 0.5, 0.25};
  const ExitReplay replay = ReplayExits(outcomes, std::vector<float>{0.5f, 0.5f}, costs);
  EXPECT_EQ(replay.exited, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(replay.mismatched, (std::vector<int64_t>{1, 0}));
  EXPECT_DOUBLE_EQ(replay.full_cost, (11 * 7 + 10 * 0.5 + 1) + (7 + 1));
  EXPECT_DOUBLE_EQ(replay.saved_cost, 10 * 3.5);  // a prompt of one row has nothing to save
  EXPECT_DOUBLE_EQ(replay.check_cost, 3 * 0.25);
}

TEST(BestThresholds, KeepsThePredictedBound) {
  const ExitOutcomes outcomes = DrawOutcomes({1, 0.5}, 2000);
  const LayerCosts costs{12, 0.06, 0};
  const auto thresholds = BestThresholds(outcomes, costs, {0.05, 0.95, 2000}, 1);
  const ExitReplay replay = ReplayExits(outcomes, thresholds, costs);
  ASSERT_GT(replay.TotalExited(), 0);
  for (size_t e = 0; e < 2; ++e) {
    if (thresholds[e] <= 0) continue;
    EXPECT_LT(double(replay.mismatched[e]), 0.05 * double(replay.exited[e]));
  }
}

TEST(BestThresholds, ClosesExitsThatDoNotPayForTheirChecks) {
  const ExitOutcomes outcomes = DrawOutcomes({1, 0.5}, 2000);
  const LayerCosts dear{12, 0.06, 1000};
  EXPECT_EQ(BestThresholds(outcomes, dear, {0.05, 0.95, 2000}, 1), (std::vector<float>{0, 0}));
}

TEST(PlanThresholds, GoesFromStrictToLoose) {
  const ExitOutcomes outcomes = DrawOutcomes({1}, 4000);
  const auto plan = PlanThresholds(outcomes, {12, 0.06, 0}, {0.05, 0.95, 4000});
  ASSERT_GT(plan.size(), 3u);
  for (size_t i = 1; i < plan.size(); ++i) EXPECT_GT(plan[i][0], plan[i - 1][0]);
}

TEST(ChooseExits, PrefersTheLayersThatSave) {
  // Layers 4 and 6 never agree with full depth; layer 8 nearly always does.
  const ExitOutcomes outcomes = DrawOutcomes({1000, 1000, 0.01, 0.01, 0.01}, 2000);
  ChooseOptions options = Options();
  options.min_exits = 1;
  const std::vector<int32_t> chosen = ChooseExits(outcomes, {14, 0.06, 0.01}, options).exits;
  ASSERT_FALSE(chosen.empty());
  EXPECT_EQ(chosen.front(), 2);
}

// Prompts that get sure one layer after the other: an exit at each lets one more share of them
// leave.
ExitOutcomes SureOneByOne(int32_t layers, int64_t prompts) {
  ExitOutcomes outcomes;
  for (int32_t layer = 0; layer < layers; ++layer) {
    outcomes.exits.push_back(ExitColumn{2 * layer + 2, {}, {}});
  }
  for (int64_t p = 0; p < prompts; ++p) {
    outcomes.rows.push_back(100);
    for (int32_t layer = 0; layer < layers; ++layer) {
      const bool sure = p % layers <= layer;
      outcomes.exits[static_cast<size_t>(layer)].entropies.push_back((sure ? 0.1f : 1.0f) +
                                                                     1e-5f * static_cast<float>(p));
      outcomes.exits[static_cast<size_t>(layer)].mismatches.push_back(!sure);
    }
  }
  return outcomes;
}

TEST(ChooseExits, KeepsAsManyAsPay) {
  const ExitOutcomes outcomes = SureOneByOne(/*layers=*/7, /*prompts=*/4200);
  ChooseOptions options = Options();
  options.min_exits = 1;
  options.max_exits = 8;
  EXPECT_EQ(ChooseExits(outcomes, {20, 0.06, 0.01}, options).exits,
            (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6}));
  options.max_exits = 5;
  const ExitChoice five = ChooseExits(outcomes, {20, 0.06, 0.01}, options);
  EXPECT_EQ(five.exits.size(), 5u);
  EXPECT_GT(five.saving_with_next, five.saving);
}

TEST(ChooseExits, KeepsNoMoreThanPay) {
  ExitOutcomes outcomes = SureOneByOne(/*layers=*/7, /*prompts=*/4200);
  for (size_t e = 1; e < outcomes.exits.size();
       ++e) {  // all that later layers know, the first does
    outcomes.exits[e].entropies = outcomes.exits[0].entropies;
    outcomes.exits[e].mismatches = outcomes.exits[0].mismatches;
  }
  ChooseOptions options = Options();
  options.min_exits = 1;
  options.max_exits = 8;
  const ExitChoice one = ChooseExits(outcomes, {20, 0.06, 0.01}, options);
  EXPECT_EQ(one.exits, (std::vector<int32_t>{0}));
  EXPECT_TRUE(one.next.has_value());
  EXPECT_LE(one.saving_with_next, one.saving);
  options.min_exits = 4;
  const ExitChoice four = ChooseExits(outcomes, {20, 0.06, 0.01}, options);
  EXPECT_EQ(four.exits.size(), 4u);
  EXPECT_EQ(four.no_gain, (std::vector<int32_t>{14, 12, 10}));
}

TEST(ChooseExits, KeepsItsLimits) {
  const ExitOutcomes outcomes = DrawOutcomes({1, 0.9, 0.8, 0.7, 0.6, 0.5}, 500);
  ChooseOptions options = Options();
  options.min_exits = 4;
  options.max_exits = 5;
  const size_t chosen = ChooseExits(outcomes, {20, 0.06, 0.01}, options).exits.size();
  EXPECT_GE(chosen, 4u);
  EXPECT_LE(chosen, 5u);
}

TEST(ChooseExits, TakesAllOfFewCandidates) {
  const ExitOutcomes outcomes = DrawOutcomes({1, 0.5}, 500);
  const ExitChoice choice = ChooseExits(outcomes, {12, 0.06, 0.01}, Options());
  EXPECT_EQ(choice.exits, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(choice.next, std::nullopt);
}

}  // namespace
}  // namespace spade
