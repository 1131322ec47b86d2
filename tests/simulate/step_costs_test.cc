#include "tools/simulate/step_costs.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/simulate/fixture.h"

namespace spade::simulate {
namespace {

TEST(StepCostsTest, BoundariesAreWhereTheExitsAre) {
  const StepCosts costs(testing::FlatCosts());
  EXPECT_EQ(costs.num_stages(), 2);
  EXPECT_EQ(costs.BoundaryAfter(1), 1);
  EXPECT_EQ(costs.BoundaryAfter(4), 1);
  EXPECT_EQ(costs.BoundaryAfter(5), 2);
  EXPECT_EQ(costs.LayersBelow(1), 4);
  EXPECT_EQ(costs.LayersBelow(2), 8);
}

TEST(StepCostsTest, PositionsCostOnTop) {
  MeasuredCosts measured = testing::FlatCosts();
  measured.decode_position_seconds = {1e-6, 0};
  measured.prefill_position_seconds = {1e-7, 0};
  const StepCosts costs(measured);
  EXPECT_NEAR(costs.Stage(0, {.rows = 4, .decode_positions = 1000}), 2e-3, 1e-9);
  EXPECT_NEAR(costs.Stage(0, {.rows = 4, .prefill_positions = 1000}), 1.1e-3, 1e-9);
  EXPECT_EQ(costs.Stage(0, {}), 0);
}

TEST(StepCostsTest, RowsWithoutOutputsAreCheaperInTheLastStage) {
  MeasuredCosts measured = testing::FlatCosts();
  measured.stages[1] = {{1, 1e-3}, {64, 64e-3}};
  measured.last_stage_one_output = {{1, 1e-3}, {64, 43e-3}};
  const StepCosts costs(measured);
  EXPECT_NEAR(costs.Stage(1, {.rows = 64, .outputs = 64}), 64e-3, 1e-9);
  EXPECT_NEAR(costs.Stage(1, {.rows = 64, .outputs = 1}), 43e-3, 1e-9);
}

TEST(StepCostsTest, AFileComesBackAsItWas) {
  MeasuredCosts measured = testing::FlatCosts();
  measured.step_seconds = 1e-5;
  const auto read = ParseCosts(ToJson(measured));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ToJson(*read), ToJson(measured));
}

TEST(StepCostsTest, NamesWhatAFileLacks) {
  nlohmann::json json = ToJson(testing::FlatCosts());
  json.erase("head");
  EXPECT_NE(ParseCosts(json).status().message().find("head"), std::string::npos);
  json = ToJson(testing::FlatCosts());
  json["exit_layers"] = {2, 4};
  EXPECT_TRUE(absl::IsInvalidArgument(ParseCosts(json).status()));
}

}  // namespace
}  // namespace spade::simulate
