#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"

namespace spade {

// In a block of the CPU's cache, keys are transposed, (kv_head, head_dim, block_size), so that a
// vector holds neighbouring positions; values are (kv_head, block_size, head_dim). Where dot
// products are of pairs, those lie together: keys are (kv_head, head_dim / 2, block_size, 2),
// values (kv_head, block_size / 2, head_dim, 2).
struct AttentionArgs {
  const float* qkv = nullptr;  // (rows, qkv_cols)
  HeadLayout heads;
  BatchView batch;
  KvView kv;
  float* out = nullptr;  // (rows, q_cols)

  int32_t queries_per_kv() const { return heads.q_heads / heads.kv_heads; }
};

// Neighbouring rows of one sequence, and one of their KV heads.
struct AttentionTile {
  int64_t first_row = 0;
  int64_t num_rows = 0;
  int32_t kv_head = 0;
};

// Queries (row, q head) that read each block of keys and values together.
inline constexpr int64_t kTileQueries = 16;
inline constexpr int64_t kMaxHeadDim = 256;
// From a query to the next in scratch: not a power of two, or they would share lines of a cache.
inline constexpr int64_t kQueryStride = kMaxHeadDim + 16;

// Floats of scratch for contexts up to `max_context` positions.
inline int64_t AttentionScratch(int64_t max_context) {
  constexpr int64_t kMaxLanes = 16;
  return kTileQueries * (max_context + kMaxLanes + 2 * kQueryStride);
}

// A cache is read by the kernels that wrote it.
struct AttentionKernels {
  // Writes the row's keys and values to its slot, and nothing beside them.
  void (*store)(const AttentionArgs& args, int64_t row);
  // Each row's result depends only on its query, its position and the cache: every sum runs over
  // head_dim or over positions in ascending order, one chain per result.
  void (*attend)(const AttentionArgs& args, const AttentionTile& tile, float* scratch);
};

// In F32, of caches of either type.
const AttentionKernels& GetAttentionKernels(Isa isa);

// Of BF16 caches that PairsSuit, with queries and weights rounded to BF16 too and summed in F32;
// null where `isa` has no such instruction.
const AttentionKernels* GetBF16AttentionKernels(Isa isa);

inline bool PairsSuit(const HeadLayout& heads, const KvView& kv) {
  return kv.dtype == DType::kBF16 && heads.head_dim % 16 == 0 && kv.block_size % 16 == 0;
}

// AttentionKernels::store in F32's order.
void StoreKvRow(const AttentionArgs& args, int64_t row);

}  // namespace spade
