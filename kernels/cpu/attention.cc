#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/attention_kernels.h"

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

// Queries that share registers: 4 x 2 accumulators.
inline constexpr int kGroup = 4;
inline constexpr int kVecs = 2;

template <class D>
HWY_INLINE hn::Vec<D> LoadKv(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadKv(D d, const hwy::bfloat16_t* from) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), from));
}

// Up to kTileQueries queries with one KV head, and their working memory.
struct Queries {
  int64_t count = 0;
  int64_t max_length = 0;         // of lengths
  int64_t score_stride = 0;       // max_length rounded up to whole blocks
  int64_t lengths[kTileQueries];  // positions each attends to
  float* outs[kTileQueries];      // (head_dim)
  float inverse_sums[kTileQueries];
  float* query = nullptr;   // (count, head_dim), scaled
  float* result = nullptr;  // (count, head_dim)
  float* scores = nullptr;  // (count, score_stride): scores, then weights
};

Queries GatherQueries(const AttentionArgs& args, const AttentionTile& tile, int64_t first,
                      float* scratch) {
  const int64_t dim = args.heads.head_dim;
  const int64_t group = args.queries_per_kv();
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  Queries queries;
  queries.count = std::min(kTileQueries, tile.num_rows * group - first);
  queries.query = scratch;
  queries.result = scratch + kTileQueries * kMaxHeadDim;
  queries.scores = queries.result + kTileQueries * kMaxHeadDim;
  for (int64_t i = 0; i < queries.count; ++i) {
    const int64_t row = tile.first_row + (first + i) / group;
    const int64_t column = (tile.kv_head * group + (first + i) % group) * dim;
    const float* query = args.qkv + row * args.heads.qkv_cols() + column;
    for (int64_t k = 0; k < dim; ++k) queries.query[i * dim + k] = query[k] * scale;
    std::fill_n(queries.result + i * dim, dim, 0.0f);
    queries.outs[i] = args.out + row * args.heads.q_cols() + column;
    queries.lengths[i] = int64_t{args.batch.positions[row]} + 1;
    queries.max_length = std::max(queries.max_length, queries.lengths[i]);
  }
  const int64_t block_size = args.kv.block_size;
  queries.score_stride = (queries.max_length + block_size - 1) / block_size * block_size;
  return queries;
}

// scores(q, s) = query(q, :) . keys(:, s) for kQueries queries and kN vectors of slots.
template <int kQueries, int kN, class D, class T>
HWY_INLINE void ScoreSlots(D d, const float* HWY_RESTRICT query, int64_t dim,
                           const T* HWY_RESTRICT keys, int64_t block_size, float* scores,
                           int64_t score_stride) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> acc[kQueries][kN];
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) acc[q][v] = hn::Zero(d);
  }
  for (int64_t i = 0; i < dim; ++i) {
    hn::Vec<D> key[kN];
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) key[v] = LoadKv(d, keys + i * block_size + v * kLanes);
    HWY_UNROLL(8)
    for (int q = 0; q < kQueries; ++q) {
      const auto broadcast = hn::Set(d, query[q * dim + i]);
      HWY_UNROLL(8)
      for (int v = 0; v < kN; ++v) acc[q][v] = hn::MulAdd(key[v], broadcast, acc[q][v]);
    }
  }
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) {
      hn::StoreU(acc[q][v], d, scores + q * score_stride + v * kLanes);
    }
  }
}

template <int kQueries, class D, class T>
void ScoreBlock(D d, const Queries& queries, int64_t first, int64_t dim, const T* keys,
                int64_t block_size, int64_t position) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  const float* query = queries.query + first * dim;
  float* scores = queries.scores + first * queries.score_stride + position;
  const int64_t stride = queries.score_stride;
  int64_t slot = 0;
  for (; slot + kVecs * kLanes <= block_size; slot += kVecs * kLanes) {
    ScoreSlots<kQueries, kVecs>(d, query, dim, keys + slot, block_size, scores + slot, stride);
  }
  if (slot < block_size) {
    ScoreSlots<kQueries, 1>(d, query, dim, keys + slot, block_size, scores + slot, stride);
  }
}

// result(q, :) += sum over slots of weights(q, slot) * values(slot, :), slots ascending.
template <int kQueries, int kN, class D, class T>
HWY_INLINE void AddValues(D d, const float* HWY_RESTRICT weights, int64_t score_stride,
                          const T* HWY_RESTRICT values, int64_t dim, int64_t slots,
                          float* HWY_RESTRICT result) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> acc[kQueries][kN];
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) acc[q][v] = hn::LoadU(d, result + q * dim + v * kLanes);
  }
  for (int64_t slot = 0; slot < slots; ++slot) {
    hn::Vec<D> value[kN];
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) value[v] = LoadKv(d, values + slot * dim + v * kLanes);
    HWY_UNROLL(8)
    for (int q = 0; q < kQueries; ++q) {
      const auto broadcast = hn::Set(d, weights[q * score_stride + slot]);
      HWY_UNROLL(8)
      for (int v = 0; v < kN; ++v) acc[q][v] = hn::MulAdd(value[v], broadcast, acc[q][v]);
    }
  }
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) hn::StoreU(acc[q][v], d, result + q * dim + v * kLanes);
  }
}

// Slots [begin, end) of a block whose first position is `position`.
template <int kQueries, class D, class T>
void AddSlots(D d, const Queries& queries, int64_t first, int64_t dim, const T* values,
              int64_t position, int64_t begin, int64_t end) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  if (begin >= end) return;
  const float* weights = queries.scores + first * queries.score_stride + position + begin;
  float* result = queries.result + first * dim;
  const T* from = values + begin * dim;
  const int64_t stride = queries.score_stride;
  int64_t i = 0;
  for (; i + kVecs * kLanes <= dim; i += kVecs * kLanes) {
    AddValues<kQueries, kVecs>(d, weights, stride, from + i, dim, end - begin, result + i);
  }
  if (i < dim) AddValues<kQueries, 1>(d, weights, stride, from + i, dim, end - begin, result + i);
}

// Slots that all queries of the group see are shared; the rest are added query by query. Slots
// beyond a query's length are never read: they may hold anything, even a NaN.
template <int kQueries, class D, class T>
void AddBlock(D d, const Queries& queries, int64_t first, int64_t dim, const T* values,
              int64_t block_size, int64_t position) {
  int64_t shared = block_size;
  for (int q = 0; q < kQueries; ++q) {
    shared = std::min(shared, std::max<int64_t>(0, queries.lengths[first + q] - position));
  }
  AddSlots<kQueries>(d, queries, first, dim, values, position, 0, shared);
  for (int q = 0; q < kQueries; ++q) {
    const int64_t own = std::min(block_size, queries.lengths[first + q] - position);
    AddSlots<1>(d, queries, first + q, dim, values, position, shared, own);
  }
}

// Turns each query's scores into exp(score - max), with zeros up to a whole vector.
template <class D>
void Softmax(D d, Queries& queries) {
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  for (int64_t q = 0; q < queries.count; ++q) {
    float* scores = queries.scores + q * queries.score_stride;
    const int64_t length = queries.lengths[q];
    const int64_t padded = (length + kLanes - 1) / kLanes * kLanes;
    std::fill(scores + length, scores + padded, -std::numeric_limits<float>::infinity());
    auto max = hn::LoadU(d, scores);
    for (int64_t i = kLanes; i < padded; i += kLanes) max = hn::Max(max, hn::LoadU(d, scores + i));
    max = hn::MaxOfLanes(d, max);
    auto sum = hn::Zero(d);
    for (int64_t i = 0; i < padded; i += kLanes) {
      const auto weight = hn::Exp(d, hn::Sub(hn::LoadU(d, scores + i), max));
      sum = hn::Add(sum, weight);
      hn::StoreU(weight, d, scores + i);
    }
    queries.inverse_sums[q] = 1.0f / hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

// Calls function.Run<n>(first) for groups of n <= kGroup queries.
template <class Function>
void ForEachGroup(int64_t count, const Function& function) {
  int64_t first = 0;
  for (; first + kGroup <= count; first += kGroup) function.template Run<kGroup>(first);
  if (count - first == 3) function.template Run<3>(first);
  if (count - first == 2) function.template Run<2>(first);
  if (count - first == 1) function.template Run<1>(first);
}

template <class D, class T>
struct ScorePass {
  template <int kQueries>
  void Run(int64_t first) const {
    ScoreBlock<kQueries>(D(), queries, first, dim, keys, block_size, position);
  }
  const Queries& queries;
  int64_t dim;
  const T* keys;
  int64_t block_size;
  int64_t position;
};

template <class D, class T>
struct ValuePass {
  template <int kQueries>
  void Run(int64_t first) const {
    AddBlock<kQueries>(D(), queries, first, dim, values, block_size, position);
  }
  const Queries& queries;
  int64_t dim;
  const T* values;
  int64_t block_size;
  int64_t position;
};

template <class D, class T>
void AttendQueries(const AttentionArgs& args, const AttentionTile& tile, Queries& queries) {
  const int64_t dim = args.heads.head_dim;
  const int64_t block_size = args.kv.block_size;
  const int64_t head_elements = dim * block_size;
  const int32_t* table = args.batch.block_tables.data() +
                         int64_t{args.batch.sequences[tile.first_row]} * args.batch.table_stride;
  const auto head_at = [&](void* base, int64_t position) {
    const int64_t block = table[position / block_size];
    return static_cast<const T*>(base) +
           (block * args.heads.kv_heads + tile.kv_head) * head_elements;
  };
  for (int64_t p = 0; p < queries.max_length; p += block_size) {
    const T* keys = head_at(args.kv.keys, p);
    ForEachGroup(queries.count, ScorePass<D, T>{queries, dim, keys, block_size, p});
  }
  Softmax(D(), queries);
  for (int64_t p = 0; p < queries.max_length; p += block_size) {
    const T* values = head_at(args.kv.values, p);
    ForEachGroup(queries.count, ValuePass<D, T>{queries, dim, values, block_size, p});
  }
  for (int64_t q = 0; q < queries.count; ++q) {
    for (int64_t i = 0; i < dim; ++i) {
      queries.outs[q][i] = queries.result[q * dim + i] * queries.inverse_sums[q];
    }
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
    Queries queries = GatherQueries(args, tile, first, scratch);
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
  static constexpr AttentionKernels kKernels = {&Attend};
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
