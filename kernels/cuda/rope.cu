#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/warp.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMaxPairs = 256 / 2 / kWarp;  // of a lane

__global__ void __launch_bounds__(kThreads) RopeAnglesKernel(RopeAnglesArgs args) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= args.rows * args.half) return;
  const int64_t row = index / args.half;
  const int64_t i = index % args.half;
  const float angle = static_cast<float>(args.positions[row]) * args.inv_freq[i];
  float* to = args.angles + row * 2 * args.half;
  to[i] = cosf(angle);
  to[args.half + i] = sinf(angle);
}

// One warp a (row, head); a lane holds elements i and half + i, which turn together.
__global__ void __launch_bounds__(kThreads) RopeKernel(RopeArgs args) {
  const int64_t turned = args.heads.q_heads + args.heads.kv_heads;
  const int64_t index = int64_t{blockIdx.x} * kWarps + WarpIndex();
  if (index >= args.rows * turned) return;
  const int64_t row = index / turned;
  const auto head = static_cast<int32_t>(index % turned);
  const int32_t half = args.heads.head_dim / 2;
  float* x = args.qkv + row * args.heads.qkv_cols() + int64_t{head} * args.heads.head_dim;
  const float* angles = args.angles + row * args.heads.head_dim;

  float first[kMaxPairs];
  float second[kMaxPairs];
  float squares = 0;
#pragma unroll
  for (int pair = 0; pair < kMaxPairs; ++pair) {
    const int i = pair * kWarp + Lane();
    first[pair] = i < half ? x[i] : 0.0f;
    second[pair] = i < half ? x[half + i] : 0.0f;
    squares = fmaf(first[pair], first[pair], fmaf(second[pair], second[pair], squares));
  }
  const float* weight = head < args.heads.q_heads ? args.norm.q_weight : args.norm.k_weight;
  float scale = 1;
  if (weight != nullptr) {
    const float mean = WarpSum(squares) / static_cast<float>(args.heads.head_dim);
    scale = 1.0f / sqrtf(mean + args.norm.epsilon);
  }
#pragma unroll
  for (int pair = 0; pair < kMaxPairs; ++pair) {
    const int i = pair * kWarp + Lane();
    if (i >= half) continue;
    const float a = weight != nullptr ? first[pair] * scale * weight[i] : first[pair];
    const float b = weight != nullptr ? second[pair] * scale * weight[half + i] : second[pair];
    const float cosine = angles[i];
    const float sine = angles[half + i];
    x[i] = fmaf(-b, sine, a * cosine);
    x[half + i] = fmaf(a, sine, b * cosine);
  }
}

unsigned Blocks(int64_t count, int64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

}  // namespace

void RopeAngles(const RopeAnglesArgs& args, cudaStream_t stream) {
  Launch(RopeAnglesKernel, {Blocks(args.rows * args.half, kThreads), kThreads}, stream, args);
}

void Rope(const RopeArgs& args, cudaStream_t stream) {
  const int64_t turned = args.rows * (args.heads.q_heads + args.heads.kv_heads);
  Launch(RopeKernel, {Blocks(turned, kWarps), kThreads}, stream, args);
}

}  // namespace spade::cuda
