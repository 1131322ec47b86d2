#include "kernels/cuda/elements.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"
#include "kernels/cuda/weights.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int64_t kChunk = 8;  // elements of a load

struct KernelArgs {
  DirectArgs call;
  WeightView weight;
  bool x_is_aligned;  // whether 128-bit loads of x are allowed
};

__device__ float ScaleAt(const KernelArgs& args, int64_t row, int64_t k) {
  return __ldg(args.weight.scales + (row * args.weight.stride() + k) / kInt8Group);
}

// Eight weights of one output feature from k on.
template <class Element>
__device__ void LoadWeights(const KernelArgs& args, int64_t row, int64_t k, float (&to)[8]) {
  Load8(static_cast<const Element*>(args.weight.data) + row * args.weight.stride() + k, to);
  if constexpr (sizeof(Element) == 1) {
    const float scale = ScaleAt(args, row, k);
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] *= scale;
  }
}

__device__ inline void LoadInputs(const KernelArgs& args, int64_t row, int64_t k, float (&to)[8]) {
  const float* x = args.call.x + row * args.weight.in_features + k;
  if (args.x_is_aligned && k + 8 <= args.weight.in_features) {
    Load8(x, to);
  } else {
    LoadSome8(x, args.weight.in_features - k, to);
  }
  if (args.call.round_x) {
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] = RoundToBF16(to[i]);
  }
}

__device__ inline void Write(const KernelArgs& args, int64_t row, int64_t col, float value) {
  float* out = args.call.out + row * args.call.out_cols + col;
  if (args.call.bias != nullptr) value += args.call.bias[col];
  if (args.call.accumulate) value += *out;
  *out = value;
}

// A warp sums kOuts output features for kRows rows: lane l takes elements l * 8 to l * 8 + 7 of
// every 256 in order, then the lanes' sums are added up. Floor: the bytes of the weights.
template <class Element, int kRows, int kOuts>
__global__ void __launch_bounds__(kThreads) MatMulDirectKernel(KernelArgs args) {
  const int64_t first_col = (int64_t{blockIdx.x} * kWarps + WarpIndex()) * kOuts;
  const int64_t first_row = int64_t{blockIdx.y} * kRows;
  if (first_col >= args.call.out_cols) return;
  // What lies beyond the last row or column is computed from the last one, and not written.
  int64_t weight_rows[kOuts];
#pragma unroll
  for (int o = 0; o < kOuts; ++o) {
    const int64_t col = first_col + o < args.call.out_cols ? first_col + o : first_col;
    weight_rows[o] = args.call.column_ids != nullptr ? args.call.column_ids[col] : col;
  }
  float sums[kRows * kOuts] = {};
  for (int64_t k = Lane() * kChunk; k < args.weight.stride(); k += kWarp * kChunk) {
    float w[kOuts][8];
#pragma unroll
    for (int o = 0; o < kOuts; ++o) LoadWeights<Element>(args, weight_rows[o], k, w[o]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float x[8];
      LoadInputs(args, first_row + r < args.call.rows ? first_row + r : first_row, k, x);
#pragma unroll
      for (int o = 0; o < kOuts; ++o) {
#pragma unroll
        for (int i = 0; i < 8; ++i) sums[r * kOuts + o] = fmaf(w[o][i], x[i], sums[r * kOuts + o]);
      }
    }
  }
  const float sum = SumTransposed<kWarp>(sums);
  const int index = TransposedIndex<kRows * kOuts>();
  const int64_t row = first_row + index / kOuts;
  const int64_t col = first_col + index % kOuts;
  const bool first_of_copies = Lane() < kRows * kOuts;
  if (first_of_copies && row < args.call.rows && col < args.call.out_cols) {
    Write(args, row, col, sum);
  }
}

template <class Element, int kRows, int kOuts>
void LaunchFor(const KernelArgs& args, cudaStream_t stream) {
  const int64_t cols_per_block = kWarps * kOuts;
  const dim3 grid(static_cast<unsigned>((args.call.out_cols + cols_per_block - 1) / cols_per_block),
                  static_cast<unsigned>((args.call.rows + kRows - 1) / kRows));
  Launch(MatMulDirectKernel<Element, kRows, kOuts>, {grid, kThreads}, stream, args);
}

// More output features a warp where rows share the weights' loads, or the inputs' loads would be
// the limit.
template <class Element>
void LaunchDirect(const KernelArgs& args, cudaStream_t stream) {
  if (args.call.rows == 1) return LaunchFor<Element, 1, 2>(args, stream);
  if (args.call.rows == 2) return LaunchFor<Element, 2, 2>(args, stream);
  if (args.call.rows <= 4) return LaunchFor<Element, 4, 2>(args, stream);
  LaunchFor<Element, kDirectRows, 4>(args, stream);
}

}  // namespace

void MatMulDirect(const WeightView& weight, const DirectArgs& call, cudaStream_t stream) {
  const bool aligned =
      weight.in_features % 4 == 0 && reinterpret_cast<uintptr_t>(call.x) % sizeof(float4) == 0;
  const KernelArgs args = {call, weight, aligned};
  switch (weight.dtype) {
    case DType::kF16:
      return LaunchDirect<Half>(args, stream);
    case DType::kBF16:
      return LaunchDirect<BFloat16>(args, stream);
    case DType::kI8:
      return LaunchDirect<int8_t>(args, stream);
    default:
      return LaunchDirect<float>(args, stream);
  }
}

}  // namespace spade::cuda
