#include "kernels/cuda/launch.h"
#include "kernels/cuda/rope_head.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

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

// One warp a (row, head).
__global__ void __launch_bounds__(kThreads) RopeKernel(RopeArgs args) {
  const int64_t turned = args.heads.q_heads + args.heads.kv_heads;
  const int64_t index = int64_t{blockIdx.x} * kWarps + WarpIndex();
  if (index >= args.rows * turned) return;
  TurnHead(args, index / turned, static_cast<int32_t>(index % turned));
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
