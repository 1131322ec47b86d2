#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/types.h"
#include "kernels/batch.h"

namespace spade {

// The rows of one climb through the layers: tokens of any number of sequences, prefill and decode
// alike. Paged rows come first (attention over their sequence's cache); SPADE rows follow
// (attention over {start token, self}, no cache). Rows of one sequence are consecutive, ascending
// in position. Reused from step to step, so that a steady state allocates nothing.
struct RowBatch {
  std::vector<TokenId> ids;           // (rows)
  std::vector<int32_t> positions;     // (rows): RoPE position
  std::vector<int32_t> sequences;     // (paged rows): row of block_tables
  std::vector<uint8_t> wants_output;  // (rows): its last hidden state is needed
  std::vector<int32_t> block_tables;  // (sequences, table_stride)
  int32_t table_stride = 0;
  int64_t spade_rows = 0;

  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
  int64_t paged_rows() const { return rows() - spade_rows; }
  // The paged rows, as attention sees them.
  BatchView Paged() const {
    return BatchView{std::span(positions).first(static_cast<size_t>(paged_rows())), sequences,
                     block_tables, table_stride};
  }
  // So that neither `max_rows` rows nor block tables of `max_entries` ids in all allocate.
  void Reserve(size_t max_rows, size_t max_entries);
  void Clear();
  // Keeps the rows listed (ascending); paged and SPADE rows stay apart.
  void Keep(std::span<const int32_t> rows);
};

}  // namespace spade
