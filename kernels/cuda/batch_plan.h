#pragma once

#include <cstdint>
#include <vector>

#include "kernels/batch.h"
#include "kernels/cuda/attention.h"

namespace spade::cuda {

// Tiles of one launch.
struct TileGroup {
  int32_t first = 0;  // in BatchPlan::tiles
  int32_t count = 0;
  int32_t queries = 0;       // the most that a tile has
  int32_t max_position = 0;  // of a row
};

struct TilePolicy {
  int32_t group = 0;          // query heads a KV head
  bool tensor_cores = false;  // whether they take runs of rows with enough queries
  bool operator==(const TilePolicy&) const = default;
};

// How the rows of a batch are cut into attention tiles. Host only. Tiles of one row (decode) come
// first, then those of several, then the tensor cores' (prefill): their launches differ.
class BatchPlan {
 public:
  // False: the batch is the one planned for already. Keeps a copy of the batch, since callers reuse
  // their memory.
  bool Update(const BatchView& batch, const TilePolicy& policy);
  bool IsPlanned(const BatchView& batch, const TilePolicy& policy) const;

  const TileGroup& single_rows() const { return single_rows_; }
  const TileGroup& several_rows() const { return several_rows_; }
  const TileGroup& tensor_rows() const { return tensor_rows_; }

  std::span<const int32_t> positions() const { return positions_; }
  std::span<const int32_t> sequences() const { return sequences_; }
  std::span<const int32_t> block_tables() const { return block_tables_; }
  int32_t table_stride() const { return table_stride_; }
  // The tiles as ints, to be copied with the rest.
  std::span<const int32_t> tiles() const;

 private:
  enum class Kind { kSingle, kSeveral, kTensor };
  void AddTiles(TileGroup& tile_group, Kind kind);
  void AddRun(TileGroup& tile_group, Kind kind, int32_t begin, int32_t end);

  std::vector<int32_t> positions_;
  std::vector<int32_t> sequences_;
  std::vector<int32_t> block_tables_;
  int32_t table_stride_ = 0;
  TilePolicy policy_;
  std::vector<AttentionTile> tiles_;
  TileGroup single_rows_;
  TileGroup several_rows_;
  TileGroup tensor_rows_;
};

}  // namespace spade::cuda
