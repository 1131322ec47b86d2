#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/types.h"
#include "engine/model/row_batch.h"

namespace spade {

// A row that left a climb at a boundary and waits in a parking tensor to go on from there.
struct ParkedRow {
  TokenId id = 0;
  int32_t position = 0;
  int32_t slot = 0;  // row of the parking tensor
};

// What a boundary between two stages makes of a batch: which rows go on, which turn into SPADE rows
// (arXiv 2507.17618), and which parked rows join. Rows not named leave. List paged rows first,
// those of the scratch after the others, each sequence's together and ascending in position; then
// SPADE rows. Reused from step to step.
class Regrouping {
 public:
  // As RowBatch::Reserve.
  void Reserve(size_t max_rows, size_t max_entries);
  // Starts from `batch`, which stays as it is until StagedModel::Regroup.
  void Begin(const RowBatch& batch);
  // `row` of the batch goes on; `wants_output` may be taken from it.
  void Stay(int32_t row) { Stay(row, batch_->wants_output[static_cast<size_t>(row)] != 0); }
  void Stay(int32_t row, bool wants_output);
  // A parked row of the sequence with block table `table` goes on as a paged row.
  void Join(const ParkedRow& row, int32_t table, bool wants_output);
  // `row` of the batch goes on as a SPADE row at RoPE position `position`.
  void BecomeSpade(int32_t row, int32_t position);

  // The batch to be, and where its rows' hidden states are: row r of the batch (r), or slot s of
  // the parking tensor (~s).
  RowBatch& next() { return next_; }
  std::span<const int32_t> sources() const { return sources_; }

 private:
  void Append(TokenId id, int32_t position, bool wants_output, int32_t source);

  const RowBatch* batch_ = nullptr;
  RowBatch next_;
  std::vector<int32_t> sources_;
};

}  // namespace spade
