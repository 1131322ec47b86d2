#include "kernels/cuda/attention.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rope_head.h"
#include "kernels/cuda/warp.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

// Where the elements of the row's KV head begin in the cache.
__device__ inline int64_t PlaceOf(const StoreKvArgs& args, int64_t row, int64_t head) {
  const int32_t position = args.positions[row];
  const int64_t table = int64_t{args.sequences[row]} * args.table_stride;
  const int64_t block = args.block_tables[table + position / args.kv.block_size];
  const int64_t slot =
      (block * args.heads.kv_heads + head) * args.kv.block_size + position % args.kv.block_size;
  return slot * args.heads.head_dim;
}

// A thread moves eight elements: the first half of a row's are keys, the second values.
template <class Element>
__global__ void __launch_bounds__(kThreads) StoreKvKernel(StoreKvArgs args) {
  const HeadLayout heads = args.heads;
  const int64_t chunks = 2 * heads.kv_cols() / 8;  // of a row
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= args.rows * chunks) return;
  const int64_t row = index / chunks;
  const int64_t col = index % chunks * 8;
  const bool is_value = col >= heads.kv_cols();
  const int64_t kv_col = is_value ? col - heads.kv_cols() : col;
  auto* cache = static_cast<Element*>(is_value ? args.kv.values : args.kv.keys);
  float values[8];
  Load8(args.qkv + row * heads.qkv_cols() + heads.q_cols() + col, values);
  Store8(cache + PlaceOf(args, row, kv_col / heads.head_dim) + kv_col % heads.head_dim, values);
}

// One warp a (row, head): queries, then keys, then values.
template <class Element>
__global__ void __launch_bounds__(kThreads) RopeAndStoreKvKernel(RopeArgs rope, StoreKvArgs store) {
  const HeadLayout heads = rope.heads;
  const int64_t all_heads = heads.q_heads + 2 * heads.kv_heads;
  const int64_t index = int64_t{blockIdx.x} * kWarps + WarpIndex();
  if (index >= rope.rows * all_heads) return;
  const int64_t row = index / all_heads;
  const auto head = static_cast<int32_t>(index % all_heads);
  const int32_t first_value = heads.q_heads + heads.kv_heads;
  if (head >= first_value) {
    const float* x = rope.qkv + row * heads.qkv_cols() + int64_t{head} * heads.head_dim;
    Element* to = static_cast<Element*>(store.kv.values) + PlaceOf(store, row, head - first_value);
    for (int i = Lane(); i < heads.head_dim; i += kWarp) to[i] = FromFloat<Element>(x[i]);
    return;
  }
  const HeadPairs pairs = TurnHead(rope, row, head);
  if (head < heads.q_heads) return;
  const int half = heads.head_dim / 2;
  Element* to = static_cast<Element*>(store.kv.keys) + PlaceOf(store, row, head - heads.q_heads);
#pragma unroll
  for (int pair = 0; pair < HeadPairs::kMost; ++pair) {
    const int i = pair * kWarp + Lane();
    if (i >= half) continue;
    to[i] = FromFloat<Element>(pairs.first[pair]);
    to[half + i] = FromFloat<Element>(pairs.second[pair]);
  }
}

}  // namespace

void StoreKv(const StoreKvArgs& args, cudaStream_t stream) {
  const int64_t threads = args.rows * (2 * args.heads.kv_cols() / 8);
  const LaunchShape shape = {static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads};
  if (args.kv.dtype == DType::kBF16) {
    Launch(StoreKvKernel<BFloat16>, shape, stream, args);
  } else {
    Launch(StoreKvKernel<float>, shape, stream, args);
  }
}

void RopeAndStoreKv(const RopeArgs& rope, const StoreKvArgs& store, cudaStream_t stream) {
  const int64_t warps = rope.rows * (rope.heads.q_heads + 2 * rope.heads.kv_heads);
  const LaunchShape shape = {static_cast<unsigned>((warps + kWarps - 1) / kWarps), kThreads};
  if (store.kv.dtype == DType::kBF16) {
    Launch(RopeAndStoreKvKernel<BFloat16>, shape, stream, rope, store);
  } else {
    Launch(RopeAndStoreKvKernel<float>, shape, stream, rope, store);
  }
}

}  // namespace spade::cuda
