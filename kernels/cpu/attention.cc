#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/attention_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "kernels/cpu/simd.h"
//
#include "hwy/foreach_target.h"  // must come before highway.h
//
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spade::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Accumulators that leave registers for operands.
inline constexpr int kAccumulators = hn::MaxLanes(hn::CappedTag<float, 16>()) == 16 ? 16 : 8;
// Queries that share registers, beside two vectors each.
inline constexpr int kGroup = kAccumulators / 2;

template <class D>
HWY_INLINE hn::Vec<D> LoadKv(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadKv(D d, const hwy::bfloat16_t* from) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), from));
}

TileQueries GatherQueries(const AttentionArgs& args, const AttentionTile& tile, int64_t first,
                          float* scratch) {
  const int64_t dim = args.heads.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  TileQueries queries = LocateQueries(args, tile, first, scratch);
  for (int64_t q = 0; q < queries.count; ++q) {
    float* query = queries.query + q * kQueryStride;
    for (int64_t i = 0; i < dim; ++i) query[i] = queries.queries[q][i] * scale;
  }
  return queries;
}

// Values of `position`.
template <class T>
const T* ValuesOf(const HeadCache<T>& cache, int64_t position) {
  return cache.Block(position) + position % cache.block_size * cache.head_dim;
}

// scores(q, s) = query(q, :) . keys(:, s) for kQueries queries and the positions of kN chunks.
// Meanwhile it fetches those of `next`.
template <int kQueries, int kN, class D, class T>
HWY_INLINE void ScoreChunks(D d, const float* HWY_RESTRICT query, const HeadCache<T>& cache,
                            const T* const* keys, const T* const* next, float* scores) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> acc[kQueries][kN];
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) acc[q][v] = hn::Zero(d);
  }
  for (int64_t i = 0; i < cache.head_dim; ++i) {
    hn::Vec<D> key[kN];
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) {
      key[v] = LoadKv(d, keys[v] + i * cache.block_size);
      __builtin_prefetch(next[v] + i * cache.block_size);
    }
    HWY_UNROLL(8)
    for (int q = 0; q < kQueries; ++q) {
      const auto broadcast = hn::Set(d, query[q * kQueryStride + i]);
      HWY_UNROLL(8)
      for (int v = 0; v < kN; ++v) acc[q][v] = hn::MulAdd(key[v], broadcast, acc[q][v]);
    }
  }
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) {
      hn::StoreU(acc[q][v], d, scores + (v * kTileQueries + q) * kLanes);
    }
  }
}

// result(q, column...) += sum over positions [begin, end) of weights(q, position) * values(
// position, column...) for kN vectors of columns, positions ascending.
template <int kQueries, int kN, class D, class T>
void AddValues(D d, const TileQueries& queries, int64_t first, const HeadCache<T>& cache,
               int64_t column, int64_t begin, int64_t end) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  float* HWY_RESTRICT result = queries.result + first * kQueryStride + column;
  hn::Vec<D> acc[kQueries][kN];
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) acc[q][v] = hn::LoadU(d, result + q * kQueryStride + v * kLanes);
  }
  for (int64_t position = begin; position < end;) {
    const int64_t chunk = position / kLanes;
    const int64_t stop = std::min(end, (chunk + 1) * kLanes);
    const float* weights =
        queries.scores + (chunk * kTileQueries + first) * kLanes + position % kLanes;
    const T* values = ValuesOf(cache, position) + column;
    const T* next = stop < end ? ValuesOf(cache, stop) + column : values;
    for (; position < stop; ++position, ++weights) {
      hn::Vec<D> value[kN];
      HWY_UNROLL(8)
      for (int v = 0; v < kN; ++v) {
        value[v] = LoadKv(d, values + v * kLanes);
        __builtin_prefetch(next + v * kLanes);
      }
      HWY_UNROLL(8)
      for (int q = 0; q < kQueries; ++q) {
        const auto broadcast = hn::Set(d, weights[q * kLanes]);
        HWY_UNROLL(8)
        for (int v = 0; v < kN; ++v) acc[q][v] = hn::MulAdd(value[v], broadcast, acc[q][v]);
      }
      values += cache.head_dim;
      next += cache.head_dim;
    }
  }
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) hn::StoreU(acc[q][v], d, result + q * kQueryStride + v * kLanes);
  }
}

template <int kQueries, class D, class T>
void AddPositions(D d, const TileQueries& queries, int64_t first, const HeadCache<T>& cache,
                  int64_t begin, int64_t end) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  constexpr int kN = kQueries * 4 <= kAccumulators ? 4 : 2;
  if (begin >= end) return;
  int64_t i = 0;
  for (; i + kN * kLanes <= cache.head_dim; i += kN * kLanes) {
    AddValues<kQueries, kN>(d, queries, first, cache, i, begin, end);
  }
  for (; i < cache.head_dim; i += kLanes) {
    AddValues<kQueries, 1>(d, queries, first, cache, i, begin, end);
  }
}

// Turns each query's scores into exp(score - max), with zeros up to a whole vector.
template <class D>
void Softmax(D d, TileQueries& queries) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  constexpr int64_t kChunk = kTileQueries * kLanes;
  for (int64_t q = 0; q < queries.count; ++q) {
    float* scores = queries.scores + q * kLanes;
    const int64_t length = queries.lengths[q];
    const int64_t end = (length + kLanes - 1) / kLanes * kChunk;
    float* last = scores + end - kChunk;
    std::fill(last + ((length - 1) % kLanes + 1), last + kLanes,
              -std::numeric_limits<float>::infinity());
    auto max = hn::LoadU(d, scores);
    for (int64_t i = kChunk; i < end; i += kChunk) max = hn::Max(max, hn::LoadU(d, scores + i));
    max = hn::MaxOfLanes(d, max);
    auto sum = hn::Zero(d);
    for (int64_t i = 0; i < end; i += kChunk) {
      const auto weight = hn::Exp(d, hn::Sub(hn::LoadU(d, scores + i), max));
      sum = hn::Add(sum, weight);
      hn::StoreU(weight, d, scores + i);
    }
    queries.inverse_sums[q] = 1.0f / hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

// Scores of kN chunks from `chunk` on.
template <int kN, class D, class T>
struct ScorePass {
  template <int kQueries>
  void Run(int64_t first) const {
    constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
    const ChunkKeys<kN, T> at(queries, cache, kLanes, chunk, /*fetches=*/first == 0);
    ScoreChunks<kQueries, kN>(D(), queries.query + first * kQueryStride, cache, at.keys, at.next,
                              queries.scores + (chunk * kTileQueries + first) * kLanes);
  }
  const TileQueries& queries;
  const HeadCache<T>& cache;
  int64_t chunk;
};

// Positions that all queries of the group see are shared; the rest are added query by query. Slots
// beyond a query's length are never read: they may hold anything, even a NaN.
template <class D, class T>
struct ValuePass {
  template <int kQueries>
  void Run(int64_t first) const {
    const int64_t* lengths = queries.lengths + first;
    const int64_t shared = *std::min_element(lengths, lengths + kQueries);
    AddPositions<kQueries>(D(), queries, first, cache, 0, shared);
    for (int q = 0; q < kQueries; ++q) {
      AddPositions<1>(D(), queries, first + q, cache, shared, lengths[q]);
    }
  }
  const TileQueries& queries;
  const HeadCache<T>& cache;
};

template <class D, class T>
void AttendQueries(const AttentionArgs& args, const AttentionTile& tile, TileQueries& queries) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  const int64_t dim = args.heads.head_dim;
  const auto keys = CacheOf<T>(args, tile, args.kv.keys);
  const int64_t chunks = (queries.max_length + kLanes - 1) / kLanes;
  int64_t chunk = 0;
  for (; chunk + 2 <= chunks; chunk += 2) {
    ForEachGroup<kGroup>(0, queries.count, ScorePass<2, D, T>{queries, keys, chunk});
  }
  if (chunk < chunks) {
    ForEachGroup<kGroup>(0, queries.count, ScorePass<1, D, T>{queries, keys, chunk});
  }
  Softmax(D(), queries);
  const auto values = CacheOf<T>(args, tile, args.kv.values);
  ForEachGroup<kGroup>(0, queries.count, ValuePass<D, T>{queries, values});
  for (int64_t q = 0; q < queries.count; ++q) {
    const float* result = queries.result + q * kQueryStride;
    for (int64_t i = 0; i < dim; ++i) queries.outs[q][i] = result[i] * queries.inverse_sums[q];
  }
}

template <class T>
void AttendTyped(const AttentionArgs& args, const AttentionTile& tile, float* scratch) {
  using DWide = hn::CappedTag<float, 16>;
  using DNarrow = hn::CappedTag<float, 8>;  // divides every block size and head_dim
  constexpr int64_t kWide = static_cast<int64_t>(hn::MaxLanes(DWide()));
  const bool wide = args.kv.block_size % kWide == 0 && args.heads.head_dim % kWide == 0;
  const int64_t num_queries = tile.num_rows * args.queries_per_kv();
  for (int64_t first = 0; first < num_queries; first += kTileQueries) {
    TileQueries queries = GatherQueries(args, tile, first, scratch);
    if (wide) {
      AttendQueries<DWide, T>(args, tile, queries);
    } else {
      AttendQueries<DNarrow, T>(args, tile, queries);
    }
  }
}

void Attend(const AttentionArgs& args, const AttentionTile& tile, float* scratch) {
  if (args.kv.dtype == DType::kF32) {
    AttendTyped<float>(args, tile, scratch);
  } else {
    AttendTyped<hwy::bfloat16_t>(args, tile, scratch);
  }
}

const AttentionKernels* Kernels() {
  static constexpr AttentionKernels kKernels = {&StoreKvRow, &Attend};
  return &kKernels;
}

}  // namespace
}  // namespace spade::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spade {

const AttentionKernels& GetAttentionKernels(Isa isa) { return *SPADE_FUNCTION_FOR(isa, Kernels)(); }

}  // namespace spade
#endif  // HWY_ONCE
