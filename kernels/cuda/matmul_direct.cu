#include <type_traits>

#include "kernels/cuda/elements.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"
#include "kernels/cuda/weights.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int64_t kChunk = 8;  // elements of a load

// Steps whose loads are in flight together, where registers allow.
constexpr int UnrollFor(int rows) { return rows == 1 ? 4 : rows <= 4 ? 2 : 1; }

struct KernelArgs {
  DirectArgs call;
  WeightView weight;
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
    if (args.call.round) {
#pragma unroll
      for (int i = 0; i < 8; ++i) to[i] = RoundToBF16(to[i]);
    }
  }
}

// Eight inputs of a row from k on; zeros beyond the last. kAligned: 128-bit loads are allowed, and
// no branch keeps the loads of several steps from being in flight together.
template <class Rounding, bool kAligned>
__device__ void LoadInputs(const KernelArgs& args, int64_t row, int64_t k, float (&to)[8]) {
  const float* x = args.call.x + row * args.weight.in_features + k;
  const int64_t left = args.weight.in_features - k;
  if constexpr (kAligned) {
    LoadSome4(x, left, to[0], to[1], to[2], to[3]);
    LoadSome4(x + 4, left - 4, to[4], to[5], to[6], to[7]);
  } else {
    LoadSome8(x, left, to);
  }
  if (args.call.round) {
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] = Rounded<Rounding>(to[i]);
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
template <class Element, int kRows, int kOuts, bool kAligned>
__global__ void __launch_bounds__(kThreads) MatMulDirectKernel(KernelArgs args) {
  const int64_t first_col = (int64_t{blockIdx.y} * kWarps + WarpIndex()) * kOuts;
  const int64_t first_row = int64_t{blockIdx.x} * kRows;
  if (first_col >= args.call.out_cols) return;
  // What lies beyond the last row or column is computed from the last one, and not written.
  int64_t weight_rows[kOuts];
#pragma unroll
  for (int o = 0; o < kOuts; ++o) {
    const int64_t col = first_col + o < args.call.out_cols ? first_col + o : first_col;
    weight_rows[o] = args.call.column_ids != nullptr ? args.call.column_ids[col] : col;
  }
  float sums[kRows * kOuts] = {};
#pragma unroll(UnrollFor(kRows))
  for (int64_t k = Lane() * kChunk; k < args.weight.stride(); k += kWarp * kChunk) {
    float w[kOuts][8];
#pragma unroll
    for (int o = 0; o < kOuts; ++o) LoadWeights<Element>(args, weight_rows[o], k, w[o]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float x[8];
      LoadInputs<typename InputsWith<Element>::Type, kAligned>(
          args, first_row + r < args.call.rows ? first_row + r : first_row, k, x);
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

template <class Element, int kRows, int kOuts, bool kAligned = true>
void LaunchFor(const KernelArgs& args, cudaStream_t stream) {
  const int64_t cols_per_block = kWarps * kOuts;
  // Blocks that run together share weights, of other rows, through the L2.
  const dim3 grid(
      static_cast<unsigned>((args.call.rows + kRows - 1) / kRows),
      static_cast<unsigned>((args.call.out_cols + cols_per_block - 1) / cols_per_block));
  Launch(MatMulDirectKernel<Element, kRows, kOuts, kAligned>, {grid, kThreads}, stream, args);
}

// More output features a warp where rows share the weights' loads, or the inputs' loads would be
// the limit. Rounding to F16 takes registers, of which four features would leave too few.
template <class Element>
void LaunchDirect(const KernelArgs& args, cudaStream_t stream) {
  const bool aligned = args.weight.in_features % 4 == 0 &&
                       reinterpret_cast<uintptr_t>(args.call.x) % sizeof(float4) == 0;
  if (!aligned) return LaunchFor<Element, kDirectRows, 1, /*kAligned=*/false>(args, stream);
  if (args.call.rows == 1) return LaunchFor<Element, 1, 2>(args, stream);
  if (args.call.rows == 2) return LaunchFor<Element, 2, 2>(args, stream);
  if (args.call.rows <= 4) return LaunchFor<Element, 4, 2>(args, stream);
  constexpr int kOuts = std::is_same_v<Element, Half> ? 2 : 4;
  LaunchFor<Element, kDirectRows, kOuts>(args, stream);
}

}  // namespace

void MatMulDirect(const WeightView& weight, const DirectArgs& call, cudaStream_t stream) {
  const KernelArgs args = {call, weight};
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
