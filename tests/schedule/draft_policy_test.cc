#include "engine/schedule/draft_policy.h"

#include <gtest/gtest.h>

#include <random>

namespace spade {
namespace {

// Two stages, each as dear as the other; seconds do not depend on rows (bandwidth) or are in
// proportion to them (arithmetic).
StageCosts Bandwidth() {
  StageCosts costs(2);
  for (const int64_t rows : {1, 64}) {
    costs.Observe(0, rows, 1.0);
    costs.Observe(1, rows, 1.0);
  }
  return costs;
}

StageCosts Arithmetic() {
  StageCosts costs(2);
  for (const int64_t rows : {1, 2, 4, 64}) {
    costs.Observe(0, rows, static_cast<double>(rows));
    costs.Observe(1, rows, static_cast<double>(rows));
  }
  return costs;
}

DraftSituation Situation() {
  DraftSituation situation;
  situation.num_stages = 2;
  situation.max_in_row = 7;
  return situation;
}

TEST(DraftPolicyTest, SureDraftsPayWhereWeightsAreStreamedAnyway) {
  const DraftOption option{1, 0.5f, 1.0, 1.0};
  const DraftChoice choice = ChooseDrafting({&option, 1}, Situation(), Bandwidth());
  EXPECT_EQ(choice.option, 0);
  EXPECT_EQ(choice.max_in_row, 7);
  // Eight tokens for eight passes below and one above, against eight of both.
  EXPECT_NEAR(choice.speedup, 16.0 / 9, 1e-9);
}

TEST(DraftPolicyTest, NothingIsGainedWhereArithmeticIsTheLimit) {
  const DraftOption option{1, 0.5f, 1.0, 1.0};
  EXPECT_EQ(ChooseDrafting({&option, 1}, Situation(), Arithmetic()).option, -1);
}

TEST(DraftPolicyTest, DraftsThatFailLose) {
  const DraftOption option{1, 0.5f, 1.0, 0.3};
  EXPECT_EQ(ChooseDrafting({&option, 1}, Situation(), Bandwidth()).option, -1);
}

TEST(DraftPolicyTest, UnsureDraftsMakeShortRuns) {
  const DraftOption sure{1, 0.5f, 1.0, 0.95};
  const DraftOption unsure{1, 0.5f, 1.0, 0.7};
  const int32_t long_run = ChooseDrafting({&sure, 1}, Situation(), Bandwidth()).max_in_row;
  const int32_t short_run = ChooseDrafting({&unsure, 1}, Situation(), Bandwidth()).max_in_row;
  EXPECT_GT(long_run, short_run);
  EXPECT_GE(short_run, 1);
}

TEST(DraftPolicyTest, TakesTheBetterOption) {
  const DraftOption options[] = {{1, 0.1f, 0.2, 0.99}, {1, 0.9f, 1.0, 0.9}};
  EXPECT_EQ(ChooseDrafting(options, Situation(), Bandwidth()).option, 1);
}

TEST(DraftPolicyTest, DearChecksTurnDraftingOff) {
  const DraftOption option{1, 0.5f, 1.0, 0.95};
  DraftSituation situation = Situation();
  situation.check_seconds = 1;
  EXPECT_EQ(ChooseDrafting({&option, 1}, situation, Bandwidth()).option, -1);
}

TEST(DraftPolicyTest, NoRoomNoDrafts) {
  const DraftOption option{1, 0.5f, 1.0, 1.0};
  DraftSituation situation = Situation();
  situation.max_in_row = 0;
  EXPECT_EQ(ChooseDrafting({&option, 1}, situation, Bandwidth()).option, -1);
}

TEST(DraftPolicyTest, NoCostsNoDrafts) {
  const DraftOption option{1, 0.5f, 1.0, 1.0};
  EXPECT_EQ(ChooseDrafting({&option, 1}, Situation(), StageCosts(2)).option, -1);
}

// The formula against a simulation of single sequences.
TEST(DraftPolicyTest, PredictsWhatASimulationMeasures) {
  const DraftOption option{1, 0.5f, 0.8, 0.85};
  const DraftChoice choice = ChooseDrafting({&option, 1}, Situation(), Bandwidth());
  ASSERT_EQ(choice.option, 0);
  std::mt19937 random(1);
  std::bernoulli_distribution sure(option.share);
  std::bernoulli_distribution accepted(option.acceptance);
  double tokens = 0;
  double seconds = 0;
  for (int run = 0; run < 200000; ++run) {
    int drafts = 0;
    seconds += 1;
    while (drafts < choice.max_in_row && sure(random)) {
      ++drafts;
      seconds += 1;
    }
    seconds += 1;  // the stage above, once
    int kept = 0;
    while (kept < drafts && accepted(random)) ++kept;
    tokens += kept + 1;
  }
  EXPECT_NEAR(tokens / seconds * 2, choice.speedup, 0.01);
}

}  // namespace
}  // namespace spade
