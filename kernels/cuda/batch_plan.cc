#include "kernels/cuda/batch_plan.h"

#include <algorithm>

namespace spade::cuda {
namespace {

static_assert(sizeof(AttentionTile) == 4 * sizeof(int32_t));

}  // namespace

bool BatchPlan::IsPlanned(const BatchView& batch, int32_t group) const {
  return group == group_ && batch.table_stride == table_stride_ &&
         std::ranges::equal(batch.positions, positions_) &&
         std::ranges::equal(batch.sequences, sequences_) &&
         std::ranges::equal(batch.block_tables, block_tables_);
}

bool BatchPlan::Update(const BatchView& batch, int32_t group) {
  if (IsPlanned(batch, group)) return false;
  positions_.assign(batch.positions.begin(), batch.positions.end());
  sequences_.assign(batch.sequences.begin(), batch.sequences.end());
  block_tables_.assign(batch.block_tables.begin(), batch.block_tables.end());
  table_stride_ = batch.table_stride;
  group_ = group;
  tiles_.clear();
  AddTiles(single_rows_, /*single=*/true);
  AddTiles(several_rows_, /*single=*/false);
  return true;
}

void BatchPlan::AddTiles(TileGroup& tile_group, bool single) {
  tile_group = {static_cast<int32_t>(tiles_.size()), 0, 0, 0};
  const int32_t heads = std::min(group_, kMaxTileQueries);
  const int32_t rows_per_tile = kMaxTileQueries / heads;
  const auto rows = static_cast<int32_t>(positions_.size());
  for (int32_t row = 0; row < rows;) {
    int32_t end = row + 1;
    while (end < rows && end - row < rows_per_tile && sequences_[end] == sequences_[row]) ++end;
    if ((end - row == 1) == single) {
      for (int32_t head = 0; head < group_; head += heads) {
        tiles_.push_back({row, end - row, head, std::min(heads, group_ - head)});
      }
      tile_group.queries = std::max(tile_group.queries, (end - row) * heads);
      tile_group.max_position = std::max(tile_group.max_position, positions_[end - 1]);
    }
    row = end;
  }
  tile_group.count = static_cast<int32_t>(tiles_.size()) - tile_group.first;
}

std::span<const int32_t> BatchPlan::tiles() const {
  return {reinterpret_cast<const int32_t*>(tiles_.data()), 4 * tiles_.size()};
}

}  // namespace spade::cuda
