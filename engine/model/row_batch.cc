#include "engine/model/row_batch.h"

#include <algorithm>

#include "kernels/check.h"

namespace spade {
namespace {

// `rows` ascends, so no element is read after it was overwritten.
template <typename T>
void Compact(std::vector<T>& values, std::span<const int32_t> rows) {
  for (size_t i = 0; i < rows.size(); ++i) values[i] = values[static_cast<size_t>(rows[i])];
  values.resize(rows.size());
}

}  // namespace

void RowBatch::Reserve(size_t max_rows, size_t max_entries) {
  ids.reserve(max_rows);
  positions.reserve(max_rows);
  sequences.reserve(max_rows);
  wants_output.reserve(max_rows);
  block_tables.reserve(max_entries);
}

void RowBatch::Clear() {
  ids.clear();
  positions.clear();
  sequences.clear();
  wants_output.clear();
  block_tables.clear();
  table_stride = 0;
  first_scratch_table = kNoScratch;
  spade_rows = 0;
}

size_t RowBatch::ScratchBegin() const {
  const auto is_pool = [this](int32_t table) { return !IsScratch(table); };
  SPADE_DCHECK(std::ranges::is_partitioned(sequences, is_pool));
  return static_cast<size_t>(std::ranges::partition_point(sequences, is_pool) - sequences.begin());
}

void RowBatch::Keep(std::span<const int32_t> rows) {
  SPADE_DCHECK(std::ranges::is_sorted(rows));
  const auto first_spade = std::ranges::lower_bound(rows, static_cast<int32_t>(paged_rows()));
  const auto paged = static_cast<size_t>(first_spade - rows.begin());
  Compact(sequences, rows.first(paged));
  Compact(ids, rows);
  Compact(positions, rows);
  Compact(wants_output, rows);
  spade_rows = static_cast<int64_t>(rows.size() - paged);
}

}  // namespace spade
