#include "engine/model/row_batch.h"

#include <gtest/gtest.h>

namespace spade::testing {
namespace {

// Four paged rows of two sequences and one SPADE row.
RowBatch MakeBatch() {
  RowBatch batch;
  batch.ids = {10, 11, 12, 13, 14};
  batch.positions = {0, 1, 5, 6, 1};
  batch.sequences = {0, 0, 1, 1};
  batch.wants_output = {0, 1, 0, 1, 1};
  batch.block_tables = {3, 4};
  batch.table_stride = 1;
  batch.spade_rows = 1;
  return batch;
}

TEST(RowBatchTest, PoolShowsThePagedRowsOnly) {
  const RowBatch batch = MakeBatch();
  const BatchView view = batch.Pool();
  EXPECT_EQ(view.rows(), 4);
  EXPECT_EQ(view.positions[3], 6);
  EXPECT_EQ(view.sequences.size(), 4u);
}

TEST(RowBatchTest, ScratchShowsTheRowsOfItsTables) {
  RowBatch batch = MakeBatch();
  EXPECT_EQ(batch.Scratch().rows(), 0);
  batch.first_scratch_table = 1;
  EXPECT_EQ(batch.Pool().rows(), 2);
  EXPECT_EQ(batch.Pool().positions[1], 1);
  const BatchView scratch = batch.Scratch();
  EXPECT_EQ(scratch.rows(), 2);
  EXPECT_EQ(scratch.positions[0], 5);
  EXPECT_EQ(scratch.sequences[0], 1);
  const int32_t rows[] = {1, 3, 4};
  batch.Keep(rows);
  EXPECT_EQ(batch.Pool().rows(), 1);
  EXPECT_EQ(batch.Scratch().positions[0], 6);
  batch.Clear();
  EXPECT_EQ(batch.first_scratch_table, RowBatch::kNoScratch);
}

TEST(RowBatchTest, KeepCompactsPagedAndSpadeRows) {
  RowBatch batch = MakeBatch();
  const int32_t rows[] = {1, 3, 4};
  batch.Keep(rows);
  EXPECT_EQ(batch.ids, (std::vector<TokenId>{11, 13, 14}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{1, 6, 1}));
  EXPECT_EQ(batch.sequences, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(batch.wants_output, (std::vector<uint8_t>{1, 1, 1}));
  EXPECT_EQ(batch.paged_rows(), 2);
  EXPECT_EQ(batch.spade_rows, 1);
}

TEST(RowBatchTest, KeepMayDropEverySpadeRowOrEverything) {
  RowBatch batch = MakeBatch();
  const int32_t rows[] = {0, 2};
  batch.Keep(rows);
  EXPECT_EQ(batch.spade_rows, 0);
  EXPECT_EQ(batch.rows(), 2);
  batch.Keep({});
  EXPECT_EQ(batch.rows(), 0);
}

}  // namespace
}  // namespace spade::testing
