#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/attention.h"

// Device code only. What a block of an attention kernel works on.

namespace spade::cuda {

struct AttentionWork {
  AttentionTile tile;
  int32_t kv_head;
  int32_t num_queries;
  int32_t max_position;  // the tile's last

  __device__ int32_t Row(int query) const { return tile.first_row + query / tile.num_heads; }
};

// Grid: (tiles, KV heads, any).
__device__ inline AttentionWork WorkOf(const AttentionArgs& args) {
  AttentionWork work;
  work.tile = args.tiles[blockIdx.x];
  work.kv_head = static_cast<int32_t>(blockIdx.y);
  work.num_queries = work.tile.num_rows * work.tile.num_heads;
  work.max_position = args.positions[work.tile.first_row + work.tile.num_rows - 1];
  return work;
}

// The column of out (and of queries) where a query's head begins.
__device__ inline int64_t HeadColumn(const AttentionArgs& args, const AttentionWork& work,
                                     int query) {
  const int32_t group = args.heads.q_heads / args.heads.kv_heads;
  const int32_t head = work.kv_head * group + work.tile.first_head + query % work.tile.num_heads;
  return int64_t{head} * args.heads.head_dim;
}

// The row of the caches, seen as (slots, head_dim), of a position of the tile's sequence.
__device__ inline int64_t CacheRow(const AttentionArgs& args, const AttentionWork& work,
                                   int32_t position) {
  const int64_t table = int64_t{args.sequences[work.tile.first_row]} * args.table_stride;
  const int32_t size = args.kv.block_size;
  const int64_t block = args.block_tables[table + position / size];
  return (block * args.heads.kv_heads + work.kv_head) * size + position % size;
}

}  // namespace spade::cuda
