#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/batch.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/heads.h"

// Paged attention. Both caches are (num_blocks, kv_heads, block_size, head_dim), as KvView says.
//
// The context is cut into splits of kSplitPositions at fixed places. A split's maximum, sum and
// weighted values are computed alone and folded into those of the splits before it, in order,
// wherever that happens: so a row's bits do not depend on how rows share tiles, nor on whether one
// block or many went over its context.

namespace spade::cuda {

inline constexpr int32_t kSplitPositions = 128;
inline constexpr int32_t kMaxTileQueries = 8;
inline constexpr int32_t kTensorTileQueries = 64;     // of a tile for the tensor cores
inline constexpr int32_t kMinTensorTileQueries = 16;  // fewer would leave most of them idle
inline constexpr int32_t kMaxHeadDim = 256;

// Queries that read each key and value together: num_heads query heads, from first_head on within
// their KV head's group, of num_rows neighbouring rows of a sequence. At most kMaxTileQueries, or
// kTensorTileQueries.
struct AttentionTile {
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t first_head = 0;
  int32_t num_heads = 0;
};

struct StoreKvArgs {
  const float* qkv = nullptr;  // (rows, qkv_cols)
  HeadLayout heads;            // head_dim a multiple of 8
  const int32_t* positions = nullptr;
  const int32_t* sequences = nullptr;
  const int32_t* block_tables = nullptr;
  int32_t table_stride = 0;
  int64_t rows = 0;
  KvView kv;  // F32 or BF16
};
// Bytes moved: keys and values once each way.
void StoreKv(const StoreKvArgs& args, cudaStream_t stream);
// Rope, then StoreKv of its rows. Bytes moved: qkv once, all but the values back, and keys and
// values to the cache.
void RopeAndStoreKv(const RopeArgs& rope, const StoreKvArgs& store, cudaStream_t stream);

struct AttentionArgs {
  const float* qkv = nullptr;  // (rows, qkv_cols)
  HeadLayout heads;
  const int32_t* positions = nullptr;
  const int32_t* sequences = nullptr;
  const int32_t* block_tables = nullptr;
  int32_t table_stride = 0;
  KvView kv;                             // F32 or BF16
  const AttentionTile* tiles = nullptr;  // device memory
  int32_t num_tiles = 0;
  int32_t tile_queries = 0;   // the most that a tile has
  int32_t max_splits = 0;     // of a tile
  float* partials = nullptr;  // PartialFloats of them: a block a split; null: a block a tile
  float* out = nullptr;       // (rows, q_cols)
};

// Floats that `partials` needs.
constexpr int64_t PartialFloats(const AttentionArgs& args) {
  return int64_t{args.num_tiles} * args.heads.kv_heads * args.max_splits * args.tile_queries *
         (args.heads.head_dim + 2);
}

// Bytes moved: for decode, each tile's keys and values once.
void Attention(const AttentionArgs& args, cudaStream_t stream);

// Whether TensorAttention has a kernel for these heads and this type of cache.
bool FitsTensorCores(const HeadLayout& heads, DType kv);

// The same for tiles of up to kTensorTileQueries; `partials` is not used. Queries and the softmax's
// weights are rounded to BF16, sums are F32. Contexts are gone over 64 positions at a time, at
// fixed places: a row's bits do not depend on how rows share tiles, but they are not Attention's.
// Operations: 4 head_dim for each query and position, on both sides of the diagonal within a tile.
void TensorAttention(const AttentionArgs& args, cudaStream_t stream);

}  // namespace spade::cuda
