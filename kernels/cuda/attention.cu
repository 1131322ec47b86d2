#include <algorithm>
#include <cmath>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_work.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
static_assert(kSplitPositions == kThreads, "a thread finds one position's slot");

// Loads in flight where registers allow.
constexpr int UnrollFor(int queries) { return queries == kMaxTileQueries ? 2 : 4; }

// Blocks that a processor is to hold at once: left alone, the compiler goes for more, and spills.
[[maybe_unused]] constexpr int SplitBlocksFor(int queries) {
  return queries == kMaxTileQueries ? 4 : queries == 1 ? 8 : 5;
}
[[maybe_unused]] constexpr int TileBlocksFor(int group_lanes) { return group_lanes == 32 ? 2 : 3; }

// A split's, or several splits', softmax-weighted values are values / sum.
struct Stats {
  float max;
  float sum;
};
constexpr Stats kNoStats = {-INFINITY, 0};  // folded with others, it leaves their bits

// The weights with which (a, then b) become one.
struct Fold {
  float of_a;
  float of_b;
  Stats stats;
};

__device__ Fold FoldStats(const Stats& a, const Stats& b) {
  Fold fold;
  fold.stats.max = fmaxf(a.max, b.max);
  const bool empty = fold.stats.max == -INFINITY;
  fold.of_a = empty ? 1.0f : expf(a.max - fold.stats.max);
  fold.of_b = empty ? 0.0f : expf(b.max - fold.stats.max);
  fold.stats.sum = fmaf(a.sum, fold.of_a, b.sum * fold.of_b);
  return fold;
}

__device__ float FoldValue(const Fold& fold, float a, float b) {
  return fmaf(a, fold.of_a, b * fold.of_b);
}

// A block's shared memory: 128 threads are kGroups groups of kGroupLanes lanes, and a lane holds
// eight neighbouring elements of a head.
template <int kGroupLanes, int kQueries>
struct Layout {
  static constexpr int kGroups = kThreads / kGroupLanes;
  static constexpr int kDim = 8 * kGroupLanes;  // head_dim or more
  // Elements of (query, dim) that a thread keeps between splits.
  static constexpr int kKept = kQueries * kDim / kThreads > 0 ? kQueries* kDim / kThreads : 1;

  int64_t slots[kSplitPositions];            // of the split's positions in the caches
  float weights[kSplitPositions][kQueries];  // scores, then their exponentials
  Stats stats[kQueries];
  alignas(16) float values[kGroups][kQueries][kDim];  // stored 128 bits at a time
};

template <class Element, int kGroupLanes, int kQueries>
struct SplitAttention {
  using Shared = Layout<kGroupLanes, kQueries>;

  const AttentionArgs& args;
  const AttentionWork& work;
  Shared& shared;

  static __device__ int Group() { return static_cast<int>(threadIdx.x) / kGroupLanes; }
  static __device__ int Dim() { return static_cast<int>(threadIdx.x) % kGroupLanes * 8; }

  // Leaves the split's stats and the groups' weighted values in shared memory.
  __device__ void Run(int32_t split) {
    const int32_t first = split * kSplitPositions;
    const int32_t count = min(kSplitPositions, work.max_position + 1 - first);
    FindSlots(first, count);
    __syncthreads();
    Score(first, count);
    __syncthreads();
    Exponentiate(count);
    __syncthreads();
    WeighValues(count);
    __syncthreads();
  }

  __device__ void FindSlots(int32_t first, int32_t count) {
    const auto i = static_cast<int32_t>(threadIdx.x);
    if (i >= count) return;
    shared.slots[i] = CacheRow(args, work, first + i);
  }

  __device__ void LoadCache(const void* cache, int position, float (&to)[8]) const {
    const auto* from = static_cast<const Element*>(cache);
    Load8(from + shared.slots[position] * args.heads.head_dim + Dim(), to);
  }

  // A group of lanes scores one position for all queries; those it may not see get -infinity.
  __device__ void Score(int32_t first, int32_t count) {
    const bool in_head = Dim() < args.heads.head_dim;
    const float scale = 1.0f / sqrtf(static_cast<float>(args.heads.head_dim));
    float queries[kQueries][8];
#pragma unroll
    for (int q = 0; q < kQueries; ++q) {
      const bool used = in_head && q < work.num_queries;
      LoadSome8(args.qkv + work.Row(q) * args.heads.qkv_cols() + HeadColumn(args, work, q) + Dim(),
                used ? 8 : 0, queries[q]);
    }
    const int query = TransposedIndex<kQueries>();
    const int32_t last = query < work.num_queries ? args.positions[work.Row(query)] - first : -1;
#pragma unroll(UnrollFor(kQueries))
    for (int step = 0; step < count; step += Shared::kGroups) {
      const int position = step + Group();
      float key[8] = {};
      if (in_head && position < count) LoadCache(args.kv.keys, position, key);
      float scores[kQueries] = {};
#pragma unroll
      for (int q = 0; q < kQueries; ++q) {
#pragma unroll
        for (int i = 0; i < 8; ++i) scores[q] = fmaf(queries[q][i], key[i], scores[q]);
      }
      const float score = SumTransposed<kGroupLanes>(scores) * scale;
      if (static_cast<int>(threadIdx.x) % kGroupLanes < kQueries) {
        shared.weights[position][query] = position <= last ? score : -INFINITY;
      }
    }
  }

  // A warp turns a query's scores into exponentials.
  __device__ void Exponentiate(int32_t count) {
    for (int q = WarpIndex(); q < kQueries; q += kWarps) {
      float scores[kSplitPositions / kWarp];
      Stats stats = kNoStats;
#pragma unroll
      for (int i = 0; i < kSplitPositions / kWarp; ++i) {
        const int position = i * kWarp + Lane();
        scores[i] = position < count ? shared.weights[position][q] : -INFINITY;
        stats.max = fmaxf(stats.max, scores[i]);
      }
      stats.max = WarpMax(stats.max);
      const bool empty = stats.max == -INFINITY;
#pragma unroll
      for (int i = 0; i < kSplitPositions / kWarp; ++i) {
        const float weight = empty ? 0.0f : expf(scores[i] - stats.max);
        shared.weights[i * kWarp + Lane()][q] = weight;
        stats.sum += weight;
      }
      stats.sum = WarpSum(stats.sum);
      if (Lane() == 0) shared.stats[q] = stats;
    }
  }

  // A group of lanes sums its positions' values; slots beyond `count` are not read.
  __device__ void WeighValues(int32_t count) {
    float sums[kQueries][8] = {};
    const bool in_head = Dim() < args.heads.head_dim;
#pragma unroll(UnrollFor(kQueries))
    for (int position = Group(); position < count; position += Shared::kGroups) {
      float value[8] = {};
      if (in_head) LoadCache(args.kv.values, position, value);
#pragma unroll
      for (int q = 0; q < kQueries; ++q) {
        const float weight = shared.weights[position][q];
#pragma unroll
        for (int i = 0; i < 8; ++i) sums[q][i] = fmaf(weight, value[i], sums[q][i]);
      }
    }
#pragma unroll
    for (int q = 0; q < kQueries; ++q) Store8(&shared.values[Group()][q][Dim()], sums[q]);
  }

  // The split's value of one (query, dim).
  __device__ float Value(int query, int dim) const {
    float value = 0;
#pragma unroll
    for (int group = 0; group < Shared::kGroups; ++group) {
      value += shared.values[group][query][dim];
    }
    return value;
  }
};

// Where a block's partial results of a split are: for each of tile_queries queries, max, sum and
// head_dim values.
__device__ float* PartialOf(const AttentionArgs& args, int64_t split, int query) {
  const int64_t index =
      (int64_t{blockIdx.x} * args.heads.kv_heads + blockIdx.y) * args.max_splits + split;
  return args.partials + (index * args.tile_queries + query) * (args.heads.head_dim + 2);
}

// One block a tile and KV head goes over all splits.
template <class Element, int kGroupLanes, int kQueries>
__global__ void __launch_bounds__(kThreads, TileBlocksFor(kGroupLanes))
    AttendTileKernel(AttentionArgs args) {
  using Shared = Layout<kGroupLanes, kQueries>;
  __shared__ Shared shared;
  const AttentionWork work = WorkOf(args);
  SplitAttention<Element, kGroupLanes, kQueries> attention = {args, work, shared};
  Stats stats[Shared::kKept];
  float values[Shared::kKept] = {};
#pragma unroll
  for (Stats& none : stats) none = kNoStats;
  const int32_t num_splits = work.max_position / kSplitPositions + 1;
  for (int32_t split = 0; split < num_splits; ++split) {
    attention.Run(split);
#pragma unroll
    for (int i = 0; i < Shared::kKept; ++i) {
      const int element = i * kThreads + static_cast<int>(threadIdx.x);
      const int query = element / Shared::kDim;
      if (query >= work.num_queries) continue;
      const float value = attention.Value(query, element % Shared::kDim);
      const Fold fold = FoldStats(stats[i], shared.stats[query]);
      stats[i] = fold.stats;
      values[i] = FoldValue(fold, values[i], value);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < Shared::kKept; ++i) {
    const int element = i * kThreads + static_cast<int>(threadIdx.x);
    const int query = element / Shared::kDim;
    const int dim = element % Shared::kDim;
    if (query >= work.num_queries || dim >= args.heads.head_dim) continue;
    args.out[work.Row(query) * args.heads.q_cols() + HeadColumn(args, work, query) + dim] =
        values[i] / stats[i].sum;
  }
}

// One block a tile, KV head and split.
template <class Element, int kGroupLanes, int kQueries>
__global__ void __launch_bounds__(kThreads, SplitBlocksFor(kQueries))
    AttendSplitKernel(AttentionArgs args) {
  using Shared = Layout<kGroupLanes, kQueries>;
  __shared__ Shared shared;
  const AttentionWork work = WorkOf(args);
  const auto split = static_cast<int32_t>(blockIdx.z);
  if (split * kSplitPositions > work.max_position) return;
  SplitAttention<Element, kGroupLanes, kQueries> attention = {args, work, shared};
  attention.Run(split);
  for (int element = static_cast<int>(threadIdx.x); element < work.num_queries * Shared::kDim;
       element += kThreads) {
    const int query = element / Shared::kDim;
    const int dim = element % Shared::kDim;
    if (dim >= args.heads.head_dim) continue;
    float* partial = PartialOf(args, split, query);
    partial[2 + dim] = attention.Value(query, dim);
    if (dim == 0) {
      partial[0] = shared.stats[query].max;
      partial[1] = shared.stats[query].sum;
    }
  }
}

// Folds a tile's splits together: one block a tile and KV head.
__global__ void __launch_bounds__(kThreads) FoldSplitsKernel(AttentionArgs args) {
  const AttentionWork work = WorkOf(args);
  const int32_t num_splits = work.max_position / kSplitPositions + 1;
  const int dims = args.heads.head_dim;
  for (int element = static_cast<int>(threadIdx.x); element < work.num_queries * dims;
       element += kThreads) {
    const int query = element / dims;
    const int dim = element % dims;
    const float* partial = PartialOf(args, 0, query);
    Stats stats = kNoStats;
    float value = 0;
    for (int32_t split = 0; split < num_splits; ++split) {
      const Fold fold = FoldStats(stats, {partial[0], partial[1]});
      stats = fold.stats;
      value = FoldValue(fold, value, partial[2 + dim]);
      partial += int64_t{args.tile_queries} * (dims + 2);
    }
    args.out[work.Row(query) * args.heads.q_cols() + HeadColumn(args, work, query) + dim] =
        value / stats.sum;
  }
}

template <class Element, int kGroupLanes, int kQueries>
void LaunchFor(const AttentionArgs& args, cudaStream_t stream) {
  dim3 grid(static_cast<unsigned>(args.num_tiles), static_cast<unsigned>(args.heads.kv_heads));
  if (args.partials == nullptr) {
    Launch(AttendTileKernel<Element, kGroupLanes, kQueries>, {grid, kThreads}, stream, args);
    return;
  }
  grid.z = static_cast<unsigned>(args.max_splits);
  Launch(AttendSplitKernel<Element, kGroupLanes, kQueries>, {grid, kThreads}, stream, args);
  grid.z = 1;
  Launch(FoldSplitsKernel, {grid, kThreads}, stream, args);
}

template <class Element, int kGroupLanes>
void LaunchForQueries(const AttentionArgs& args, cudaStream_t stream) {
  if (args.tile_queries == 1) return LaunchFor<Element, kGroupLanes, 1>(args, stream);
  if (args.tile_queries <= 4) return LaunchFor<Element, kGroupLanes, 4>(args, stream);
  LaunchFor<Element, kGroupLanes, kMaxTileQueries>(args, stream);
}

template <class Element>
void LaunchForDim(const AttentionArgs& args, cudaStream_t stream) {
  if (args.heads.head_dim <= 64) return LaunchForQueries<Element, 8>(args, stream);
  if (args.heads.head_dim <= 128) return LaunchForQueries<Element, 16>(args, stream);
  LaunchForQueries<Element, 32>(args, stream);
}

}  // namespace

void Attention(const AttentionArgs& args, cudaStream_t stream) {
  if (args.kv.dtype == DType::kBF16) {
    LaunchForDim<BFloat16>(args, stream);
  } else {
    LaunchForDim<float>(args, stream);
  }
}

}  // namespace spade::cuda
