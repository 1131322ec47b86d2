// Attention in BF16 by AVX512-BF16's dot products of pairs, summed in F32: pairs of dimensions give
// scores, pairs of positions the weighted sum of values.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "hwy/base.h"
#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/attention_tile.h"

#if HWY_ARCH_X86_64

// GCC takes the undefined operands of its own intrinsics for mistakes.
#if HWY_COMPILER_GCC_ACTUAL
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
namespace spade {
namespace {

// A word is a pair: of keys that of two dimensions of a position, of values that of two positions
// of a dimension, of weights that of two positions. The first is the low half. Words of queries and
// of weights lie where F32 has floats: a query's from its start on, a chunk's in its first half.
constexpr int64_t kLanes = 16;
constexpr int64_t kWeightWords = kLanes / 2;  // of a chunk of kLanes positions
// Queries that share registers, beside two vectors each.
constexpr int kGroup = 8;

inline __m512bh LoadWords(const uint32_t* from) { return (__m512bh)_mm512_loadu_si512(from); }

inline __m512bh BroadcastWord(const void* from) {
  int32_t word;
  std::memcpy(&word, from, sizeof(word));
  return (__m512bh)_mm512_set1_epi32(word);
}

// Rounds to nearest even: 16 floats to 8 words.
inline __m256i RoundToWords(__m512 values) { return (__m256i)_mm512_cvtneps_pbh(values); }

void StoreWords(__m256i words, void* to) {
  _mm256_storeu_si256(static_cast<__m256i_u*>(to), words);
}

TileQueries GatherQueries(const AttentionArgs& args, const AttentionTile& tile, int64_t first,
                          float* scratch) {
  TileQueries queries = LocateQueries(args, tile, first, scratch);
  for (int64_t q = 0; q < queries.count; ++q) {
    float* words = queries.query + q * kQueryStride;
    for (int64_t i = 0; i < args.heads.head_dim; i += kLanes) {
      StoreWords(RoundToWords(_mm512_loadu_ps(queries.queries[q] + i)), words + i / 2);
    }
  }
  return queries;
}

// scores(q, s) = query(q, :) . keys(:, s) for kQueries queries and the positions of kN chunks.
// Meanwhile it fetches those of `next`.
template <int kQueries, int kN>
void ScoreChunks(const float* query, const HeadCache<uint32_t>& cache, const uint32_t* const* keys,
                 const uint32_t* const* next, float* scores) {
  __m512 acc[kQueries][kN];
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) acc[q][v] = _mm512_setzero_ps();
  }
  for (int64_t i = 0; i < cache.head_dim / 2; ++i) {
    __m512bh key[kN];
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) {
      key[v] = LoadWords(keys[v] + i * cache.block_size);
      __builtin_prefetch(next[v] + i * cache.block_size);
    }
    HWY_UNROLL(8)
    for (int q = 0; q < kQueries; ++q) {
      const __m512bh pair = BroadcastWord(query + q * kQueryStride + i);
      HWY_UNROLL(8)
      for (int v = 0; v < kN; ++v) acc[q][v] = _mm512_dpbf16_ps(acc[q][v], key[v], pair);
    }
  }
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) {
      _mm512_storeu_ps(scores + (v * kTileQueries + q) * kLanes, acc[q][v]);
    }
  }
}

// Scores of kN chunks from `chunk` on.
template <int kN>
struct ScorePass {
  template <int kQueries>
  void Run(int64_t first) const {
    const ChunkKeys<kN, uint32_t> at(queries, cache, kLanes, chunk, /*fetches=*/first == 0);
    ScoreChunks<kQueries, kN>(queries.query + first * kQueryStride, cache, at.keys, at.next,
                              queries.scores + (chunk * kTileQueries + first) * kLanes);
  }
  const TileQueries& queries;
  const HeadCache<uint32_t>& cache;
  int64_t chunk;
};

// 2^x for x <= 0, with a relative error below 3e-6, which rounding to BF16 hides; exactly 1 at 0.
inline __m512 Exp2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(x, whole);  // within [-0.5, 0.5]: minimax of degree 4
  __m512 power = _mm512_set1_ps(0.0095828754f);
  power = _mm512_fmadd_ps(power, r, _mm512_set1_ps(0.0559064825f));
  power = _mm512_fmadd_ps(power, r, _mm512_set1_ps(0.2402409858f));
  power = _mm512_fmadd_ps(power, r, _mm512_set1_ps(0.6931241868f));
  power = _mm512_fmadd_ps(power, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(power, whole);
}

// Turns a query's scores into the words of exp(scale * (score - max)), with zeros up to a whole
// chunk. Returns the sum of what they were rounded to, so that what all values share is kept.
float SoftmaxOf(float* scores, int64_t length, float scale) {
  constexpr int64_t kChunk = kTileQueries * kLanes;
  float* const last = scores + (length - 1) / kLanes * kChunk;
  const auto seen = static_cast<__mmask16>((2u << ((length - 1) % kLanes)) - 1);
  const __m512 nothing = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  __m512 max = _mm512_mask_loadu_ps(nothing, seen, last);
  for (const float* chunk = scores; chunk < last; chunk += kChunk) {
    max = _mm512_max_ps(max, _mm512_loadu_ps(chunk));
  }
  max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
  const __m512 factor = _mm512_set1_ps(scale * 1.44269504f);  // to powers of 2
  const auto ones = (__m256bh)_mm256_set1_epi32(0x3f803f80);
  __m256 sum = _mm256_setzero_ps();
  const auto weigh = [&](float* chunk, __mmask16 mask) {
    const __m512 below = _mm512_sub_ps(_mm512_loadu_ps(chunk), max);
    const __m512 weights = _mm512_maskz_mov_ps(mask, Exp2(_mm512_mul_ps(below, factor)));
    const __m256i words = RoundToWords(weights);
    sum = _mm256_dpbf16_ps(sum, (__m256bh)words, ones);
    StoreWords(words, chunk);
  };
  for (float* chunk = scores; chunk < last; chunk += kChunk) weigh(chunk, 0xffff);
  weigh(last, seen);
  return _mm512_reduce_add_ps(_mm512_zextps256_ps512(sum));
}

// Values of a pair of positions.
const uint32_t* ValuesOf(const HeadCache<uint32_t>& cache, int64_t pair) {
  return cache.Block(2 * pair) + 2 * pair % cache.block_size / 2 * cache.head_dim;
}

// result(q, column...) += sum over pairs of positions [begin, end) of weights(q, pair) * values(
// pair, column...) for kN vectors of columns, pairs ascending.
template <int kQueries, int kN>
void AddValues(const TileQueries& queries, int64_t first, const HeadCache<uint32_t>& cache,
               int64_t column, int64_t begin, int64_t end) {
  float* result = queries.result + first * kQueryStride + column;
  __m512 acc[kQueries][kN];
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) {
      acc[q][v] = _mm512_loadu_ps(result + q * kQueryStride + v * kLanes);
    }
  }
  for (int64_t pair = begin; pair < end;) {
    const int64_t chunk = pair / kWeightWords;
    const int64_t stop = std::min(end, (chunk + 1) * kWeightWords);
    const float* weights =
        queries.scores + (chunk * kTileQueries + first) * kLanes + pair % kWeightWords;
    const uint32_t* values = ValuesOf(cache, pair) + column;
    const uint32_t* next = stop < end ? ValuesOf(cache, stop) + column : values;
    for (; pair < stop; ++pair, ++weights) {
      __m512bh value[kN];
      HWY_UNROLL(8)
      for (int v = 0; v < kN; ++v) {
        value[v] = LoadWords(values + v * kLanes);
        __builtin_prefetch(next + v * kLanes);
      }
      HWY_UNROLL(8)
      for (int q = 0; q < kQueries; ++q) {
        const __m512bh weight = BroadcastWord(weights + q * kLanes);
        HWY_UNROLL(8)
        for (int v = 0; v < kN; ++v) acc[q][v] = _mm512_dpbf16_ps(acc[q][v], value[v], weight);
      }
      values += cache.head_dim;
      next += cache.head_dim;
    }
  }
  HWY_UNROLL(8)
  for (int q = 0; q < kQueries; ++q) {
    HWY_UNROLL(8)
    for (int v = 0; v < kN; ++v) {
      _mm512_storeu_ps(result + q * kQueryStride + v * kLanes, acc[q][v]);
    }
  }
}

template <int kQueries>
void AddPairs(const TileQueries& queries, int64_t first, const HeadCache<uint32_t>& cache,
              int64_t begin, int64_t end) {
  constexpr int kN = kQueries <= kGroup / 2 ? 4 : 2;
  if (begin >= end) return;
  int64_t i = 0;
  for (; i + kN * kLanes <= cache.head_dim; i += kN * kLanes) {
    AddValues<kQueries, kN>(queries, first, cache, i, begin, end);
  }
  for (; i < cache.head_dim; i += kLanes) {
    AddValues<kQueries, 1>(queries, first, cache, i, begin, end);
  }
}

// The last position of a query that sees an odd number: what lies beside it may be anything.
void AddLast(const TileQueries& queries, int64_t query, const HeadCache<uint32_t>& cache) {
  const int64_t pair = queries.lengths[query] / 2;
  const float* weights =
      queries.scores + (pair / kWeightWords * kTileQueries + query) * kLanes + pair % kWeightWords;
  const __m512bh weight = BroadcastWord(weights);
  const uint32_t* values = ValuesOf(cache, pair);
  float* result = queries.result + query * kQueryStride;
  for (int64_t i = 0; i < cache.head_dim; i += kLanes) {
    const auto value =
        (__m512bh)_mm512_and_si512(_mm512_loadu_si512(values + i), _mm512_set1_epi32(0xffff));
    _mm512_storeu_ps(result + i, _mm512_dpbf16_ps(_mm512_loadu_ps(result + i), value, weight));
  }
}

// Pairs that all queries of the group see are shared; the rest are added query by query. Slots
// beyond a query's length are never used: they may hold anything, even a NaN.
struct ValuePass {
  template <int kQueries>
  void Run(int64_t first) const {
    const int64_t* lengths = queries.lengths + first;
    const int64_t shared = *std::min_element(lengths, lengths + kQueries) / 2;
    AddPairs<kQueries>(queries, first, cache, 0, shared);
    for (int q = 0; q < kQueries; ++q) {
      AddPairs<1>(queries, first + q, cache, shared, lengths[q] / 2);
      if (lengths[q] % 2 != 0) AddLast(queries, first + q, cache);
    }
  }
  const TileQueries& queries;
  const HeadCache<uint32_t>& cache;
};

void AttendQueries(const AttentionArgs& args, const AttentionTile& tile, TileQueries& queries) {
  const int64_t dim = args.heads.head_dim;
  const HeadCache keys = CacheOf<uint32_t>(args, tile, args.kv.keys, /*elements=*/2);
  const int64_t chunks = (queries.max_length + kLanes - 1) / kLanes;
  int64_t chunk = 0;
  for (; chunk + 2 <= chunks; chunk += 2) {
    ForEachGroup<kGroup>(0, queries.count, ScorePass<2>{queries, keys, chunk});
  }
  if (chunk < chunks) ForEachGroup<kGroup>(0, queries.count, ScorePass<1>{queries, keys, chunk});
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (int64_t q = 0; q < queries.count; ++q) {
    const float sum = SoftmaxOf(queries.scores + q * kLanes, queries.lengths[q], scale);
    queries.inverse_sums[q] = 1.0f / sum;
  }
  const HeadCache values = CacheOf<uint32_t>(args, tile, args.kv.values, /*elements=*/2);
  ForEachGroup<kGroup>(0, queries.count, ValuePass{queries, values});
  for (int64_t q = 0; q < queries.count; ++q) {
    const float* result = queries.result + q * kQueryStride;
    for (int64_t i = 0; i < dim; ++i) queries.outs[q][i] = result[i] * queries.inverse_sums[q];
  }
}

void Attend(const AttentionArgs& args, const AttentionTile& tile, float* scratch) {
  const int64_t num_queries = tile.num_rows * args.queries_per_kv();
  for (int64_t first = 0; first < num_queries; first += kTileQueries) {
    TileQueries queries = GatherQueries(args, tile, first, scratch);
    AttendQueries(args, tile, queries);
  }
}

// Of a word of values only the row's own half is written: another thread may write the other.
void StoreRow(const AttentionArgs& args, int64_t row) {
  const HeadLayout& heads = args.heads;
  const int64_t dim = heads.head_dim;
  const int64_t block_size = args.kv.block_size;
  const KvRow at = FindKvRow(args, row);
  const auto half = static_cast<__mmask32>(at.slot % 2 == 0 ? 0x55555555u : 0xaaaaaaaau);
  for (int64_t head = 0; head < heads.kv_heads; ++head) {
    const int64_t base = (at.block * heads.kv_heads + head) * dim * block_size / 2;
    uint32_t* keys = static_cast<uint32_t*>(args.kv.keys) + base + at.slot;
    uint32_t* values = static_cast<uint32_t*>(args.kv.values) + base + at.slot / 2 * dim;
    for (int64_t i = 0; i < dim; i += kLanes) {
      uint32_t words[kLanes / 2];
      StoreWords(RoundToWords(_mm512_loadu_ps(at.key + head * dim + i)), words);
      for (int64_t w = 0; w < kLanes / 2; ++w) keys[(i / 2 + w) * block_size] = words[w];
      const __m256i rounded = RoundToWords(_mm512_loadu_ps(at.value + head * dim + i));
      const __m512i low = _mm512_cvtepu16_epi32(rounded);
      const __m512i both = _mm512_or_si512(low, _mm512_slli_epi32(low, 16));
      _mm512_mask_storeu_epi16(values + i, half, both);
    }
  }
}

constexpr AttentionKernels kKernels = {&StoreRow, &Attend};

}  // namespace

const AttentionKernels* GetBF16AttentionKernels(Isa isa) {
  return isa == Isa::kAvx3BF16 ? &kKernels : nullptr;
}

}  // namespace spade
HWY_POP_ATTRIBUTES

#else

namespace spade {

const AttentionKernels* GetBF16AttentionKernels(Isa) { return nullptr; }

}  // namespace spade

#endif  // HWY_ARCH_X86_64
