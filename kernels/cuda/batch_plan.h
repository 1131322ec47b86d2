#pragma once

#include <array>
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

  const TileGroup& single_rows() const { return groups_[kSingle]; }
  const TileGroup& several_rows() const { return groups_[kSeveral]; }
  const TileGroup& tensor_rows() const { return groups_[kTensor]; }

  std::span<const int32_t> positions() const { return positions_; }
  std::span<const int32_t> sequences() const { return sequences_; }
  // (sequences, table_stride): the batch's, in rows of a power of two, so that growing contexts
  // rarely change the arguments of a launch.
  std::span<const int32_t> block_tables() const { return padded_tables_; }
  int32_t table_stride() const { return padded_stride_; }
  const TilePolicy& policy() const { return policy_; }
  // The tiles as ints, to be copied with the rest.
  std::span<const int32_t> tiles() const;

 private:
  enum Kind { kSingle, kSeveral, kTensor, kKinds };
  void PadTables();
  // Tiles of a run of a sequence's rows.
  void AddRun(int32_t begin, int32_t end);

  std::vector<int32_t> positions_;
  std::vector<int32_t> sequences_;
  std::vector<int32_t> block_tables_;
  int32_t table_stride_ = 0;  // the batch's
  std::vector<int32_t> padded_tables_;
  int32_t padded_stride_ = 0;
  TilePolicy policy_;
  std::array<std::vector<AttentionTile>, kKinds> tiles_of_;
  std::vector<AttentionTile> tiles_;  // all of them, by kind
  std::array<TileGroup, kKinds> groups_;
};

}  // namespace spade::cuda
