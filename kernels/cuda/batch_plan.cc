#include "kernels/cuda/batch_plan.h"

#include <algorithm>
#include <bit>

namespace spade::cuda {
namespace {

static_assert(sizeof(AttentionTile) == 4 * sizeof(int32_t));

constexpr uint32_t kMinStride = 16;  // of padded tables

}  // namespace

bool BatchPlan::IsPlanned(const BatchView& batch, const TilePolicy& policy) const {
  return policy == policy_ && batch.table_stride == table_stride_ &&
         std::ranges::equal(batch.positions, positions_) &&
         std::ranges::equal(batch.sequences, sequences_) &&
         std::ranges::equal(batch.block_tables, block_tables_);
}

bool BatchPlan::Update(const BatchView& batch, const TilePolicy& policy) {
  if (IsPlanned(batch, policy)) return false;
  positions_.assign(batch.positions.begin(), batch.positions.end());
  sequences_.assign(batch.sequences.begin(), batch.sequences.end());
  block_tables_.assign(batch.block_tables.begin(), batch.block_tables.end());
  table_stride_ = batch.table_stride;
  policy_ = policy;
  PadTables();
  groups_.fill({});
  for (auto& tiles : tiles_of_) tiles.clear();
  const auto rows = static_cast<int32_t>(positions_.size());
  for (int32_t begin = 0; begin < rows;) {
    int32_t end = begin + 1;
    while (end < rows && sequences_[end] == sequences_[begin]) ++end;
    AddRun(begin, end);
    begin = end;
  }
  tiles_.clear();
  for (size_t kind = 0; kind < kKinds; ++kind) {
    groups_[kind].first = static_cast<int32_t>(tiles_.size());
    groups_[kind].count = static_cast<int32_t>(tiles_of_[kind].size());
    tiles_.insert(tiles_.end(), tiles_of_[kind].begin(), tiles_of_[kind].end());
  }
  return true;
}

void BatchPlan::PadTables() {
  const auto stride = static_cast<size_t>(table_stride_);
  padded_stride_ =
      static_cast<int32_t>(std::bit_ceil(std::max(kMinStride, static_cast<uint32_t>(stride))));
  padded_tables_.clear();
  for (size_t first = 0; first < block_tables_.size(); first += stride) {
    const std::span<const int32_t> table = std::span(block_tables_).subspan(first, stride);
    padded_tables_.insert(padded_tables_.end(), table.begin(), table.end());
    padded_tables_.resize(padded_tables_.size() + static_cast<size_t>(padded_stride_) - stride);
  }
}

void BatchPlan::AddRun(int32_t begin, int32_t end) {
  const bool tensor =
      policy_.tensor_cores && (end - begin) * policy_.group >= kMinTensorTileQueries;
  const int32_t most = tensor ? kTensorTileQueries : kMaxTileQueries;
  const int32_t heads = std::min(policy_.group, most);
  for (int32_t row = begin; row < end; row += most / heads) {
    const int32_t count = std::min(most / heads, end - row);
    const Kind kind = tensor ? kTensor : count == 1 ? kSingle : kSeveral;
    for (int32_t head = 0; head < policy_.group; head += heads) {
      tiles_of_[kind].push_back({row, count, head, std::min(heads, policy_.group - head)});
    }
    TileGroup& group = groups_[kind];
    group.queries = std::max(group.queries, count * heads);
    group.max_position = std::max(group.max_position, positions_[row + count - 1]);
  }
}

std::span<const int32_t> BatchPlan::tiles() const {
  return {reinterpret_cast<const int32_t*>(tiles_.data()), 4 * tiles_.size()};
}

}  // namespace spade::cuda
