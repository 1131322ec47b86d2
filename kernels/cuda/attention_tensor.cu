#include <algorithm>
#include <cmath>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_work.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tensor_core.h"
#include "kernels/cuda/warp.h"

// Attention of many queries on the tensor cores, with a running softmax (FlashAttention-2, arXiv
// 2307.08691). A warp has 16 queries; a block's four share the keys and values in shared memory.

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarpQueries = 16;
static_assert(kThreads / kWarp * kWarpQueries == kTensorTileQueries);
constexpr int kKeys = 64;  // that a block holds at a time
constexpr float kLog2E = 1.4426950408889634f;

[[maybe_unused]] constexpr int BlocksFor(int dim) { return dim <= 64 ? 3 : 2; }

__device__ uint32_t RoundPair(float low, float high) {
  return FromFloat<BFloat16>(low).bits | static_cast<uint32_t>(FromFloat<BFloat16>(high).bits)
                                             << 16;
}

// Over the four lanes that have a row of `sums` (tensor_core.h).
__device__ float QuadMax(float value) {
  value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, 1));
  return fmaxf(value, __shfl_xor_sync(kAllLanes, value, 2));
}
__device__ float QuadSum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  return value + __shfl_xor_sync(kAllLanes, value, 2);
}

// Rows lie 16 bytes further apart than they are long: eight of them, at any column, are in all
// banks.
template <int kDim>
struct TensorShared {
  alignas(16) BFloat16 keys[kKeys][kDim + 8];
  alignas(16) BFloat16 values[kKeys][kDim + 8];
};

// One warp's queries. "half" is 0 for query g of its 16, 1 for query g + 8.
template <int kDim>
struct WarpQueries {
  static constexpr int kDimTiles = kDim / 8;

  uint32_t queries[kDim / 16][4];
  int32_t last_position[2];  // that the query sees; -1: there is no such query
  float max[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};  // of this lane's keys
  float out[kDimTiles][4] = {};

  static __device__ int Query(int half) {
    return WarpIndex() * kWarpQueries + Lane() / 4 + 8 * half;
  }
  static __device__ int Column() { return Lane() % 4 * 2; }

  __device__ void Load(const AttentionArgs& args, const AttentionWork& work) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = Query(half);
      const bool used = query < work.num_queries;
      last_position[half] = used ? args.positions[work.Row(query)] : -1;
      const float* from = args.qkv + Column();
      if (used) from += work.Row(query) * args.heads.qkv_cols() + HeadColumn(args, work, query);
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
        queries[i / 2][i % 2 * 2 + half] =
            used ? RoundPair(__ldg(from + 8 * i), __ldg(from + 8 * i + 1)) : 0;
      }
    }
  }

  __device__ void Attend(const TensorShared<kDim>& shared, int32_t first_key) {
    float scores[kKeys / 8][4] = {};
    Score(shared, scores);
    Exponentiate(first_key, scores);
    WeighValues(shared, scores);
  }

  __device__ void Score(const TensorShared<kDim>& shared, float (&scores)[kKeys / 8][4]) const {
    const int tile = Lane() / 8;
#pragma unroll
    for (int key = 0; key < kKeys / 8; key += 2) {
#pragma unroll
      for (int step = 0; step < kDim / 16; ++step) {
        uint32_t words[4];  // two tiles of keys, low and high dimensions of each
        LoadTiles(&shared.keys[8 * (key + tile / 2) + Lane() % 8][16 * step + tile % 2 * 8], words);
        MultiplyTile(queries[step], words[0], words[1], scores[key]);
        MultiplyTile(queries[step], words[2], words[3], scores[key + 1]);
      }
    }
  }

  // Scores become weights relative to the largest score so far; what was summed before is scaled to
  // it.
  __device__ void Exponentiate(int32_t first_key, float (&scores)[kKeys / 8][4]) {
    const float scale = kLog2E / sqrtf(static_cast<float>(kDim));
    float largest[2] = {max[0], max[1]};
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) {
      const int half = i / 2 % 2;
      const int32_t key = first_key + i / 4 * 8 + Column() + i % 2;
      float& score = scores[i / 4][i % 4];
      score = key <= last_position[half] ? score * scale : -INFINITY;
      largest[half] = fmaxf(largest[half], score);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[half] = QuadMax(largest[half]);
      const float shrink = largest[half] == -INFINITY ? 1.0f : exp2f(max[half] - largest[half]);
      max[half] = largest[half];
      sum[half] *= shrink;
#pragma unroll
      for (auto& values : out) {
        values[2 * half] *= shrink;
        values[2 * half + 1] *= shrink;
      }
    }
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) {
      const int half = i / 2 % 2;
      float& score = scores[i / 4][i % 4];
      score = max[half] == -INFINITY ? 0.0f : exp2f(score - max[half]);
      sum[half] += score;
    }
  }

  // The sums of a product are laid out as the next one's `a`, but for rounding.
  __device__ void WeighValues(const TensorShared<kDim>& shared,
                              const float (&weights)[kKeys / 8][4]) {
    const int tile = Lane() / 8;
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) {
      const float(&low)[4] = weights[2 * step];
      const float(&high)[4] = weights[2 * step + 1];
      const uint32_t rounded[4] = {RoundPair(low[0], low[1]), RoundPair(low[2], low[3]),
                                   RoundPair(high[0], high[1]), RoundPair(high[2], high[3])};
#pragma unroll
      for (int dim = 0; dim < kDimTiles; dim += 2) {
        uint32_t words[4];  // low and high keys of two tiles of dimensions
        LoadTilesTransposed(
            &shared.values[16 * step + tile % 2 * 8 + Lane() % 8][8 * (dim + tile / 2)], words);
        MultiplyTile(rounded, words[0], words[1], out[dim]);
        MultiplyTile(rounded, words[2], words[3], out[dim + 1]);
      }
    }
  }

  __device__ void Store(const AttentionArgs& args, const AttentionWork& work) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = QuadSum(sum[half]);
      const int query = Query(half);
      if (query >= work.num_queries) continue;
      float* to = args.out + work.Row(query) * args.heads.q_cols() + HeadColumn(args, work, query) +
                  Column();
#pragma unroll
      for (int i = 0; i < kDimTiles; ++i) {
        to[8 * i] = out[i][2 * half] / total;
        to[8 * i + 1] = out[i][2 * half + 1] / total;
      }
    }
  }
};

// Keys and values from position `first` on, at most kKeys; zeros beyond the tile's last position,
// since what lies there may be anything, and anything may be NaN.
template <int kDim>
__device__ void LoadKeysAndValues(const AttentionArgs& args, const AttentionWork& work,
                                  int32_t first, TensorShared<kDim>& shared) {
  constexpr int kVectors = kDim / 8;
  const auto* keys = static_cast<const uint4*>(args.kv.keys);
  const auto* values = static_cast<const uint4*>(args.kv.values);
  for (int i = static_cast<int>(threadIdx.x); i < kKeys * kVectors; i += kThreads) {
    const int key = i / kVectors;
    const int vector = i % kVectors;
    uint4 of_key = make_uint4(0, 0, 0, 0);
    uint4 of_value = of_key;
    if (first + key <= work.max_position) {
      const int64_t at = CacheRow(args, work, first + key) * kVectors + vector;
      of_key = __ldg(keys + at);
      of_value = __ldg(values + at);
    }
    *reinterpret_cast<uint4*>(&shared.keys[key][8 * vector]) = of_key;
    *reinterpret_cast<uint4*>(&shared.values[key][8 * vector]) = of_value;
  }
}

// One block a tile and KV head.
template <int kDim>
__global__ void __launch_bounds__(kThreads, BlocksFor(kDim))
    TensorAttentionKernel(AttentionArgs args) {
  __shared__ TensorShared<kDim> shared;
  const AttentionWork work = WorkOf(args);
  WarpQueries<kDim> warp;
  warp.Load(args, work);
  for (int32_t first = 0; first <= work.max_position; first += kKeys) {
    LoadKeysAndValues(args, work, first, shared);
    __syncthreads();
    warp.Attend(shared, first);
    __syncthreads();
  }
  warp.Store(args, work);
}

template <int kDim>
void LaunchFor(const AttentionArgs& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(args.num_tiles),
                  static_cast<unsigned>(args.heads.kv_heads));
  Launch(TensorAttentionKernel<kDim>, {grid, kThreads}, stream, args);
}

}  // namespace

bool FitsTensorCores(const HeadLayout& heads, DType kv) {
  const int32_t dim = heads.head_dim;
  return kv == DType::kBF16 && (dim == 64 || dim == 80 || dim == 96 || dim == 128) &&
         heads.q_heads / heads.kv_heads <= kTensorTileQueries;
}

void TensorAttention(const AttentionArgs& args, cudaStream_t stream) {
  switch (args.heads.head_dim) {
    case 64:
      return LaunchFor<64>(args, stream);
    case 80:
      return LaunchFor<80>(args, stream);
    case 96:
      return LaunchFor<96>(args, stream);
    default:
      return LaunchFor<128>(args, stream);
  }
}

}  // namespace spade::cuda
