#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace spade {

struct KvShape {
  int32_t num_layers = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_size = 16;  // positions a block
  DType dtype = DType::kF32;

  int64_t bytes_per_block() const {
    return 2 * int64_t{num_layers} * num_kv_heads * head_dim * block_size *
           static_cast<int64_t>(SizeOf(dtype));
  }
  int64_t bytes_per_scratch_block() const { return bytes_per_block() / num_layers; }
};

// The memory of all KV blocks: one pool of keys and one of values per layer. A block id is the same
// place in every pool (I8). Beside them the scratch: blocks of one layer's depth that every layer
// uses in its turn, for sequences whose rows all run in one climb and leave nothing behind.
// Allocated once; move-only. Not thread-safe: owned by the engine's loop.
class KvCache {
 public:
  // INVALID_ARGUMENT for an empty shape, a type that is neither F32 nor BF16, too many bytes to
  // address, or no block at all (the memory set for the cache is less than one block);
  // RESOURCE_EXHAUSTED, saying how much was asked for, when the backend has too little memory.
  // `backend` outlives the cache.
  static absl::StatusOr<KvCache> Create(Backend& backend, const KvShape& shape, int32_t num_blocks,
                                        int32_t num_scratch_blocks = 0);

  const KvShape& shape() const { return shape_; }
  int32_t num_blocks() const { return num_blocks_; }
  // One a layer; then the scratch's, where there is one.
  std::span<const KvView> views() const { return views_; }

 private:
  // Keys and values of `bytes` each; `total` is what the cache asks for in all.
  absl::Status AddView(Backend& backend, size_t bytes, int64_t total);

  KvShape shape_;
  int32_t num_blocks_ = 0;
  std::vector<Buffer> buffers_;
  std::vector<KvView> views_;
};

}  // namespace spade
