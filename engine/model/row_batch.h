#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/base/types.h"
#include "kernels/batch.h"

namespace spade {

// The rows of one climb through the layers: tokens of any number of sequences, prefill and decode
// alike. Paged rows come first (attention over their sequence's cache); SPADE rows follow
// (attention over {start token, self}, no cache). Rows of one sequence are consecutive, ascending
// in position. Of the paged rows, those whose blocks are the scratch's (KvCache) come last: their
// keys and values last for a layer. Reused from step to step, so that a steady state allocates
// nothing.
struct RowBatch {
  std::vector<TokenId> ids;           // (rows)
  std::vector<int32_t> positions;     // (rows): RoPE position
  std::vector<int32_t> sequences;     // (paged rows): row of block_tables
  std::vector<uint8_t> wants_output;  // (rows): its last hidden state is needed
  std::vector<int32_t> block_tables;  // (sequences, table_stride)
  int32_t table_stride = 0;
  // Block tables from this one on name blocks of the scratch.
  int32_t first_scratch_table = kNoScratch;
  int64_t spade_rows = 0;

  static constexpr int32_t kNoScratch = std::numeric_limits<int32_t>::max();

  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
  int64_t paged_rows() const { return rows() - spade_rows; }
  int32_t num_tables() const {
    return table_stride > 0 ? static_cast<int32_t>(std::ssize(block_tables) / table_stride) : 0;
  }
  // Some row's output is not needed.
  bool DropsRows() const { return std::ranges::find(wants_output, 0) != wants_output.end(); }
  bool IsScratch(int32_t table) const { return table >= first_scratch_table; }
  // The paged rows as attention sees them: those with blocks of the pool, which come first, and
  // those with blocks of the scratch.
  BatchView Pool() const { return Rows(0, ScratchBegin()); }
  BatchView Scratch() const { return Rows(ScratchBegin(), sequences.size()); }
  // So that neither `max_rows` rows nor block tables of `max_entries` ids in all allocate.
  void Reserve(size_t max_rows, size_t max_entries);
  void Clear();
  // Keeps the rows listed (ascending); paged and SPADE rows stay apart.
  void Keep(std::span<const int32_t> rows);

 private:
  size_t ScratchBegin() const;
  BatchView Rows(size_t begin, size_t end) const {
    return BatchView{std::span(positions).subspan(begin, end - begin),
                     std::span(sequences).subspan(begin, end - begin), block_tables, table_stride};
  }
};

}  // namespace spade
