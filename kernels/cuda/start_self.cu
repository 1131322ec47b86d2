// The SPADE pass's attention (arXiv 2507.17618).
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/warp.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

// One warp a (row, query head).
__global__ void __launch_bounds__(kThreads) StartSelfKernel(StartSelfArgs args) {
  const HeadLayout heads = args.heads;
  const int64_t index = int64_t{blockIdx.x} * kWarps + WarpIndex();
  if (index >= args.rows * heads.q_heads) return;
  const int64_t row = index / heads.q_heads;
  const auto head = static_cast<int32_t>(index % heads.q_heads);
  const int32_t dim = heads.head_dim;
  const int64_t kv = int64_t{head / (heads.q_heads / heads.kv_heads)} * dim;
  const float* query = args.qkv + row * heads.qkv_cols() + int64_t{head} * dim;
  const float* key = args.qkv + row * heads.qkv_cols() + heads.q_cols() + kv;
  const float* value = key + heads.kv_cols();

  float to_start = 0;
  float to_self = 0;
  for (int i = Lane(); i < dim; i += kWarp) {
    to_start = fmaf(query[i], args.start_keys[kv + i], to_start);
    to_self = fmaf(query[i], key[i], to_self);
  }
  const float scale = 1.0f / sqrtf(static_cast<float>(dim));
  to_start = WarpSum(to_start) * scale;
  to_self = WarpSum(to_self) * scale;
  const float p_start = 1.0f / (1.0f + expf(to_self - to_start));
  const float p_self = 1.0f / (1.0f + expf(to_start - to_self));
  float* out = args.out + row * heads.q_cols() + int64_t{head} * dim;
  for (int i = Lane(); i < dim; i += kWarp) {
    out[i] = fmaf(p_self, value[i], p_start * args.start_values[kv + i]);
  }
}

}  // namespace

void StartSelfAttention(const StartSelfArgs& args, cudaStream_t stream) {
  const int64_t warps = args.rows * args.heads.q_heads;
  Launch(StartSelfKernel, {static_cast<unsigned>((warps + kWarps - 1) / kWarps), kThreads}, stream,
         args);
}

}  // namespace spade::cuda
