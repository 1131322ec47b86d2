#include "kernels/cuda/batch_plan.h"

#include "gtest/gtest.h"

namespace spade::cuda {
namespace {

struct Rows {
  std::vector<int32_t> positions;
  std::vector<int32_t> sequences;
  std::vector<int32_t> tables = {0, 1, 2, 3};
  BatchView view() const { return {positions, sequences, tables, 2}; }
};

std::vector<std::vector<int32_t>> TilesOf(const BatchPlan& plan, const TileGroup& group) {
  std::vector<std::vector<int32_t>> tiles;
  for (int32_t i = group.first; i < group.first + group.count; ++i) {
    const auto tile = plan.tiles().subspan(static_cast<size_t>(4 * i), 4);
    tiles.emplace_back(tile.begin(), tile.end());
  }
  return tiles;
}

using Tiles = std::vector<std::vector<int32_t>>;  // first row, rows, first head, heads

TEST(BatchPlanTest, RowsOfASequenceShareTilesUpToTheirLimit) {
  BatchPlan plan;
  const Rows rows = {{0, 1, 2, 9}, {0, 0, 0, 1}};
  EXPECT_TRUE(plan.Update(rows.view(), {.group = 4}));
  EXPECT_EQ(TilesOf(plan, plan.several_rows()), (Tiles{{0, 2, 0, 4}}));
  EXPECT_EQ(TilesOf(plan, plan.single_rows()), (Tiles{{2, 1, 0, 4}, {3, 1, 0, 4}}));
}

TEST(BatchPlanTest, GroupsStateTheirLargestTileAndPosition) {
  BatchPlan plan;
  const Rows rows = {{0, 1, 2, 9}, {0, 0, 0, 1}};
  plan.Update(rows.view(), {.group = 3});
  EXPECT_EQ(plan.several_rows().queries, 6);
  EXPECT_EQ(plan.several_rows().max_position, 1);
  EXPECT_EQ(plan.single_rows().queries, 3);
  EXPECT_EQ(plan.single_rows().max_position, 9);
}

TEST(BatchPlanTest, ManyHeadsAreCutIntoTiles) {
  BatchPlan plan;
  const Rows rows = {{5}, {0}};
  plan.Update(rows.view(), {.group = 21});
  EXPECT_EQ(TilesOf(plan, plan.single_rows()), (Tiles{{0, 1, 0, 8}, {0, 1, 8, 8}, {0, 1, 16, 5}}));
}

TEST(BatchPlanTest, LongRunsAreForTheTensorCores) {
  BatchPlan plan;
  Rows rows;  // 18 rows of one sequence, 3 of another, one that decodes
  for (int32_t i = 0; i < 22; ++i) {
    rows.positions.push_back(i < 18 ? i : i < 21 ? i - 18 : 40);
    rows.sequences.push_back(i < 18 ? 0 : i < 21 ? 1 : 2);
  }
  plan.Update(rows.view(), {.group = 4, .tensor_cores = true});
  EXPECT_EQ(TilesOf(plan, plan.tensor_rows()), (Tiles{{0, 16, 0, 4}, {16, 2, 0, 4}}));
  EXPECT_EQ(TilesOf(plan, plan.several_rows()), (Tiles{{18, 2, 0, 4}}));
  EXPECT_EQ(TilesOf(plan, plan.single_rows()), (Tiles{{20, 1, 0, 4}, {21, 1, 0, 4}}));
  plan.Update(rows.view(), {.group = 4});
  EXPECT_EQ(plan.tensor_rows().count, 0);
  EXPECT_EQ(plan.several_rows().count, 9 + 1);
}

TEST(BatchPlanTest, OnlyADifferentBatchIsPlannedAnew) {
  BatchPlan plan;
  Rows rows = {{5, 6}, {0, 0}};
  EXPECT_TRUE(plan.Update(rows.view(), {.group = 1}));
  const Rows same = rows;
  EXPECT_FALSE(plan.Update(same.view(), {.group = 1}));
  rows.tables[1] = 9;
  EXPECT_TRUE(plan.Update(rows.view(), {.group = 1}));
  EXPECT_TRUE(plan.Update(rows.view(), {.group = 2}));
}

}  // namespace
}  // namespace spade::cuda
