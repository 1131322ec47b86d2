#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_ops.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float SiluTimes(float gate, float up) { return gate / (1.0f + expf(-gate)) * up; }

template <bool kVectors>
__global__ void __launch_bounds__(kThreads) SiluMulKernel(SiluMulArgs args) {
  constexpr int kWidth = kVectors ? 4 : 1;
  const int64_t width = args.cols / kWidth;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= args.rows * width) return;
  const int64_t row = index / width;
  const int64_t col = index % width * kWidth;
  const float* gate = args.gate_up + row * 2 * args.cols + col;
  const float* up = gate + args.cols;
  float* out = args.out + row * args.cols + col;
  if constexpr (kVectors) {
    const float4 g = *reinterpret_cast<const float4*>(gate);
    const float4 u = *reinterpret_cast<const float4*>(up);
    *reinterpret_cast<float4*>(out) = make_float4(SiluTimes(g.x, u.x), SiluTimes(g.y, u.y),
                                                  SiluTimes(g.z, u.z), SiluTimes(g.w, u.w));
  } else {
    *out = SiluTimes(*gate, *up);
  }
}

}  // namespace

void SiluMul(const SiluMulArgs& args, cudaStream_t stream) {
  const bool vectors = args.cols % 4 == 0;
  const int64_t threads = args.rows * args.cols / (vectors ? 4 : 1);
  const LaunchShape shape = {static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads};
  if (vectors) {
    Launch(SiluMulKernel<true>, shape, stream, args);
  } else {
    Launch(SiluMulKernel<false>, shape, stream, args);
  }
}

}  // namespace spade::cuda
