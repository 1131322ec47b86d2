#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_ops.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kAhead = 8;  // rows in flight of a compaction

template <class Vector>
__global__ void __launch_bounds__(kThreads) CopyRowsKernel(CopyRowsArgs args) {
  const int64_t width = args.cols * static_cast<int64_t>(sizeof(float)) / sizeof(Vector);
  const int64_t col = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (col >= width) return;
  const int64_t i = blockIdx.x;
  const int64_t to = args.to != nullptr ? args.to[i] : i;
  const auto* x = reinterpret_cast<const Vector*>(args.x);
  reinterpret_cast<Vector*>(args.out)[to * width + col] = x[args.from[i] * width + col];
}

// A thread moves its column of all rows, in order: row i is read no later than it is overwritten,
// because from[i] >= i.
template <class Vector>
__global__ void __launch_bounds__(kThreads) CompactRowsKernel(CopyRowsArgs args) {
  const int64_t width = args.cols * static_cast<int64_t>(sizeof(float)) / sizeof(Vector);
  const int64_t col = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (col >= width) return;
  auto* x = reinterpret_cast<Vector*>(args.out);
  for (int64_t first = 0; first < args.count; first += kAhead) {
    Vector moved[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i < args.count) moved[i] = x[args.from[first + i] * width + col];
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i < args.count) x[(first + i) * width + col] = moved[i];
    }
  }
}

__global__ void __launch_bounds__(kThreads) AddBiasKernel(AddBiasArgs args) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= args.rows * args.cols) return;
  const float bias = args.bias[index % args.cols];
  args.out[index] = args.accumulate ? args.out[index] + bias : bias;
}

unsigned Blocks(int64_t threads) {
  return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}

}  // namespace

void CopyRows(const CopyRowsArgs& args, cudaStream_t stream) {
  const auto rows = static_cast<unsigned>(args.count);
  if (args.cols % 4 == 0) {
    Launch(CopyRowsKernel<float4>, {dim3(rows, Blocks(args.cols / 4)), kThreads}, stream, args);
  } else {
    Launch(CopyRowsKernel<float>, {dim3(rows, Blocks(args.cols)), kThreads}, stream, args);
  }
}

void CompactRows(const CopyRowsArgs& args, cudaStream_t stream) {
  if (args.cols % 4 == 0) {
    Launch(CompactRowsKernel<float4>, {Blocks(args.cols / 4), kThreads}, stream, args);
  } else {
    Launch(CompactRowsKernel<float>, {Blocks(args.cols), kThreads}, stream, args);
  }
}

void AddBias(const AddBiasArgs& args, cudaStream_t stream) {
  Launch(AddBiasKernel, {Blocks(args.rows * args.cols), kThreads}, stream, args);
}

}  // namespace spade::cuda
