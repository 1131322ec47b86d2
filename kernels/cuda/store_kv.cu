#include "kernels/cuda/attention.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/launch.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;

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
  const int32_t position = args.positions[row];
  const int64_t table = int64_t{args.sequences[row]} * args.table_stride;
  const int64_t block = args.block_tables[table + position / args.kv.block_size];
  const int64_t head = kv_col / heads.head_dim;
  const int64_t slot =
      (block * heads.kv_heads + head) * args.kv.block_size + position % args.kv.block_size;
  auto* cache = static_cast<Element*>(is_value ? args.kv.values : args.kv.keys);
  float values[8];
  Load8(args.qkv + row * heads.qkv_cols() + heads.q_cols() + col, values);
  Store8(cache + slot * heads.head_dim + kv_col % heads.head_dim, values);
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

}  // namespace spade::cuda
