#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/warp.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

// The sum over the block, in one order; every thread gets it.
__device__ float BlockSum(float value) {
  __shared__ float sums[kWarps];
  const float warp_sum = WarpSum(value);
  if (Lane() == 0) sums[WarpIndex()] = warp_sum;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) sum += sums[i];
  return sum;
}

// One block a row. Thread t owns the same elements in both passes, so out may be x.
template <bool kVectors>
__global__ void __launch_bounds__(kThreads) RmsNormKernel(RmsNormArgs args) {
  const float* x = args.x + blockIdx.x * args.cols;
  float* out = args.out + blockIdx.x * args.cols;
  float squares = 0;
  if constexpr (kVectors) {
    const auto* vectors = reinterpret_cast<const float4*>(x);
    for (int64_t i = threadIdx.x; i < args.cols / 4; i += kThreads) {
      const float4 v = vectors[i];
      squares = fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, squares))));
    }
  } else {
    for (int64_t i = threadIdx.x; i < args.cols; i += kThreads) squares = fmaf(x[i], x[i], squares);
  }
  const float mean = BlockSum(squares) / static_cast<float>(args.cols);
  const float scale = 1.0f / sqrtf(mean + args.epsilon);
  if constexpr (kVectors) {
    const auto* vectors = reinterpret_cast<const float4*>(x);
    const auto* weights = reinterpret_cast<const float4*>(args.weight);
    for (int64_t i = threadIdx.x; i < args.cols / 4; i += kThreads) {
      const float4 v = vectors[i];
      const float4 w = __ldg(weights + i);
      reinterpret_cast<float4*>(out)[i] =
          make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
    }
  } else {
    for (int64_t i = threadIdx.x; i < args.cols; i += kThreads) {
      out[i] = x[i] * scale * args.weight[i];
    }
  }
}

}  // namespace

void RmsNorm(const RmsNormArgs& args, cudaStream_t stream) {
  const LaunchShape shape = {static_cast<unsigned>(args.rows), kThreads};
  if (args.cols % 4 == 0) {
    Launch(RmsNormKernel<true>, shape, stream, args);
  } else {
    Launch(RmsNormKernel<false>, shape, stream, args);
  }
}

}  // namespace spade::cuda
