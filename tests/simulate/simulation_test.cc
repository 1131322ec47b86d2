#include "tools/simulate/simulation.h"

#include <gtest/gtest.h>

#include "tests/simulate/fixture.h"

namespace spade::simulate {
namespace {

using testing::FlatCosts;
using testing::Requests;

ExitDepths Exits(const char* text) { return *ExitDepths::Parse(text, 1); }

RunRecord RunPolicy(const std::string& policy, const std::vector<Request>& requests,
                    const ExitDepths& depths, const EngineShape& shape = {}) {
  return *SimulatePolicy(policy, {}, requests, shape, StepCosts(FlatCosts()), depths);
}

double TokensPerSecond(const std::string& policy, const ExitDepths& depths) {
  return FiguresOf(policy, RunPolicy(policy, Requests(64, 0, 4, 64), depths), {}).tokens_per_s;
}

TEST(SimulationTest, OneRequestTakesItsSteps) {
  const RunRecord record = RunPolicy("full", Requests(1, 0, 8, 5), {});
  EXPECT_NEAR(record.requests[0].first, 2e-3, 1e-9);
  EXPECT_NEAR(record.requests[0].last, 10e-3, 1e-9);
  EXPECT_EQ(record.steps, 5);
  EXPECT_EQ(record.rows, 8 + 4);
  EXPECT_EQ(record.gaps.size(), 4u);
}

TEST(SimulationTest, TheClockWaitsForArrivals) {
  const RunRecord record = RunPolicy("full", Requests(2, 1.0, 8, 2), {});
  EXPECT_NEAR(record.requests[1].first, 1 + 2e-3, 1e-9);
}

// Twice as many rows as the flat part holds: the steps take twice as long.
TEST(SimulationTest, StepsTakeWhatTheirRowsCost) {
  const RunRecord record = RunPolicy("full", Requests(64, 0, 1, 2), {});
  EXPECT_NEAR(record.requests[0].first, 4e-3, 1e-9);
}

TEST(SimulationTest, EveryPolicyGivesAllTokens) {
  const ExitDepths depths = Exits("4:0.6");
  const std::vector<Request> requests = Requests(50, 2e-3, 20, 17);
  for (const std::string& policy : PolicyNames()) {
    const RunRecord record = RunPolicy(policy, requests, depths);
    for (const RequestRecord& request : record.requests) EXPECT_EQ(request.tokens, 17) << policy;
    EXPECT_EQ(record.gaps.size(), 50u * 16u) << policy;
  }
}

TEST(SimulationTest, EveryPolicyGivesAllTokensWithFewBlocks) {
  const ExitDepths depths = Exits("4:0.6");
  EngineShape shape;
  shape.kv_blocks = 12;
  for (const std::string& policy : PolicyNames()) {
    const RunRecord record = RunPolicy(policy, Requests(20, 0, 20, 40), depths, shape);
    for (const RequestRecord& request : record.requests) EXPECT_EQ(request.tokens, 40) << policy;
  }
}

// A row that leaves skips the second stage, which runs for the next one of full depth; it then
// takes those before it along.
TEST(SimulationTest, RowsThatLeftAreCompletedWithADeeperOne) {
  const RunRecord record = RunPolicy("ours", Requests(1, 0, 8, 6), Exits("4:1"), {.max_in_row = 2});
  // The prompt; then early, early, full depth with both, early, early.
  EXPECT_NEAR(record.end, (2 + 1 + 1 + 2 + 1 + 1) * 1e-3, 1e-9);
  EXPECT_EQ(record.early_tokens, 4);
  EXPECT_DOUBLE_EQ(record.layer_rows_full - record.layer_rows, 2 * 4);
}

TEST(SimulationTest, AGroupWaitsForItsDeepestRow) {
  const ExitDepths depths = Exits("4:0.5");
  EXPECT_GT(TokensPerSecond("ours", depths), TokensPerSecond("full", depths) * 0.99);
  EXPECT_LT(TokensPerSecond("grouped", depths), TokensPerSecond("full", depths) * 1.05);
}

// Where few rows go deeper and stages cost the same for few as for many.
TEST(SimulationTest, RebatchingFillsDeepStages) {
  const ExitDepths depths = Exits("4:0.9");
  EXPECT_GT(TokensPerSecond("drex", depths), TokensPerSecond("grouped", depths));
}

TEST(SimulationTest, DecisionsLeaveWithAllButOneRow) {
  const std::vector<Request> requests = Requests(1, 0, 100, 0);
  const RunRecord full = RunPolicy("full", requests, Exits("4:1"));
  const RunRecord ours = RunPolicy("ours", requests, Exits("4:1"));
  EXPECT_DOUBLE_EQ(full.layer_rows, 800);
  EXPECT_DOUBLE_EQ(ours.layer_rows, 400 + 4);
  EXPECT_LT(ours.end, full.end);
}

TEST(SimulationTest, GoodRequestsAreFastInBothWays) {
  RunRecord record;
  record.requests = {{0, 0.1, 1.1, 11}, {0, 0.5, 1.5, 11}, {0, 0.1, 3.1, 11}};
  record.end = 2;
  const Figures figures = FiguresOf("x", record, {.ttft_seconds = 0.2, .tpot_seconds = 0.11});
  EXPECT_DOUBLE_EQ(figures.good_per_s, 0.5);
  EXPECT_DOUBLE_EQ(figures.requests_per_s, 1.5);
}

TEST(SimulationTest, WhatNeverFitsIsRefused) {
  const RunRecord record = RunPolicy("full", Requests(1, 0, 400, 10), {}, {.kv_blocks = 4});
  EXPECT_EQ(record.refused, 1);
}

TEST(SimulationTest, UnknownPolicyIsNamed) {
  const auto record =
      SimulatePolicy("best", {}, Requests(1, 0, 1, 1), {}, StepCosts(FlatCosts()), {});
  EXPECT_TRUE(absl::IsInvalidArgument(record.status()));
}

}  // namespace
}  // namespace spade::simulate
