// What the kernels of attention share: which queries a tile holds, and where its keys and values
// lie.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/attention_kernels.h"

namespace spade {

// Up to kTileQueries queries with one KV head, and their working memory.
struct TileQueries {
  int64_t count = 0;
  int64_t max_length = 0;              // of lengths
  int64_t lengths[kTileQueries];       // positions each attends to
  const float* queries[kTileQueries];  // (head_dim)
  float* outs[kTileQueries];           // (head_dim)
  float inverse_sums[kTileQueries];    // of the weights
  float* query = nullptr;              // (count, kQueryStride): as the kernels multiply them
  float* result = nullptr;             // (count, kQueryStride), zeros at first
  // Scores, then weights, by chunks of a vector's positions, (chunks, kTileQueries, lanes), so that
  // a chunk's are near each other.
  float* scores = nullptr;
};

// Those of the tile from the first-th on. `query`, scores and sums are not filled yet.
inline TileQueries LocateQueries(const AttentionArgs& args, const AttentionTile& tile,
                                 int64_t first, float* scratch) {
  const int64_t group = args.queries_per_kv();
  TileQueries queries;
  queries.count = std::min(kTileQueries, tile.num_rows * group - first);
  queries.query = scratch;
  queries.result = scratch + kTileQueries * kQueryStride;
  queries.scores = queries.result + kTileQueries * kQueryStride;
  for (int64_t i = 0; i < queries.count; ++i) {
    const int64_t row = tile.first_row + (first + i) / group;
    const int64_t column = (tile.kv_head * group + (first + i) % group) * args.heads.head_dim;
    queries.queries[i] = args.qkv + row * args.heads.qkv_cols() + column;
    queries.outs[i] = args.out + row * args.heads.q_cols() + column;
    queries.lengths[i] = int64_t{args.batch.positions[row]} + 1;
    queries.max_length = std::max(queries.max_length, queries.lengths[i]);
    std::fill_n(queries.result + i * kQueryStride, args.heads.head_dim, 0.0f);
  }
  return queries;
}

// Where the keys or values of one sequence and KV head lie, in words of T.
template <class T>
struct HeadCache {
  // Of the block that holds `position`.
  const T* Block(int64_t position) const {
    return head + table[position / block_size] * block_stride;
  }
  // The first keys of `position`, block_size before the next.
  const T* Keys(int64_t position) const { return Block(position) + position % block_size; }

  const T* head;  // of block 0
  const int32_t* table;
  int64_t block_stride;
  int64_t block_size;
  int64_t head_dim;
};

// Of the tile, in `cache`, keys or values, with so many elements in each T.
template <class T>
HeadCache<T> CacheOf(const AttentionArgs& args, const AttentionTile& tile, const void* cache,
                     int64_t elements = 1) {
  const int64_t head_words = int64_t{args.heads.head_dim} * args.kv.block_size / elements;
  const int32_t* table = args.batch.block_tables.data() +
                         int64_t{args.batch.sequences[tile.first_row]} * args.batch.table_stride;
  return {static_cast<const T*>(cache) + tile.kv_head * head_words, table,
          args.heads.kv_heads * head_words, args.kv.block_size, args.heads.head_dim};
}

// The keys of kN chunks of `lanes` positions from `chunk` on, and those that are to be fetched
// meanwhile, by the first group of queries.
template <int kN, class T>
struct ChunkKeys {
  ChunkKeys(const TileQueries& queries, const HeadCache<T>& cache, int64_t lanes, int64_t chunk,
            bool fetches) {
    for (int v = 0; v < kN; ++v) {
      const int64_t position = (chunk + v) * lanes;
      const int64_t later = position + kN * lanes;
      keys[v] = cache.Keys(position);
      next[v] = fetches && later < queries.max_length ? cache.Keys(later) : keys[v];
    }
  }
  const T* keys[kN];
  const T* next[kN];
};

// A row's keys and values, (kv_cols) each, and their slot.
struct KvRow {
  const float* key;
  const float* value;
  int64_t block;
  int64_t slot;
};

inline KvRow FindKvRow(const AttentionArgs& args, int64_t row) {
  const int64_t position = args.batch.positions[row];
  const int64_t table = int64_t{args.batch.sequences[row]} * args.batch.table_stride;
  const float* key = args.qkv + row * args.heads.qkv_cols() + args.heads.q_cols();
  return {key, key + args.heads.kv_cols(),
          args.batch.block_tables[table + position / args.kv.block_size],
          position % args.kv.block_size};
}

// Calls function.Run<n>(first) for groups of n <= kQueries queries.
template <int kQueries, class Function>
void ForEachGroup(int64_t first, int64_t count, const Function& function) {
  for (; first + kQueries <= count; first += kQueries) function.template Run<kQueries>(first);
  if constexpr (kQueries > 1) {
    if (first < count) ForEachGroup<kQueries - 1>(first, count, function);
  }
}

}  // namespace spade
