#pragma once

#include <cuda_runtime.h>

// Device code only. Reductions in one fixed order: the tree of a sum does not depend on what else
// is summed, so neither do its bits.

namespace spade::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr int kWarp = 32;

__device__ inline int Lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ inline int WarpIndex() { return static_cast<int>(threadIdx.x) / kWarp; }

// Every lane gets the sum over the warp.
__device__ inline float WarpSum(float value) {
#pragma unroll
  for (int offset = 1; offset < kWarp; offset *= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

__device__ inline float WarpMax(float value) {
#pragma unroll
  for (int offset = 1; offset < kWarp; offset *= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, offset));
  }
  return value;
}

// Which of n values SumTransposed leaves with this lane.
template <int kValues>
__device__ int TransposedIndex() {
  int index = 0;
#pragma unroll
  for (int offset = 1; offset < kValues; offset *= 2) {
    index = 2 * index + ((Lane() & offset) != 0 ? 1 : 0);
  }
  return index;
}

// Sums each of kValues values over aligned groups of kLanes lanes; a lane gets the sum of value
// TransposedIndex(). kValues + log2(kLanes / kValues) shuffles in place of kValues * log2(kLanes),
// and the same tree as WarpSum's.
template <int kLanes, int kValues>
__device__ float SumTransposed(float (&values)[kValues]) {
  static_assert(kValues <= kLanes && (kValues & (kValues - 1)) == 0);
#pragma unroll
  for (int offset = 1; offset < kValues; offset *= 2) {
    const bool upper = (Lane() & offset) != 0;
    const int half = kValues / (2 * offset);
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float sent = upper ? values[i] : values[i + half];
      const float kept = upper ? values[i + half] : values[i];
      values[i] = kept + __shfl_xor_sync(kAllLanes, sent, offset);
    }
  }
  float sum = values[0];
#pragma unroll
  for (int offset = kValues; offset < kLanes; offset *= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, offset);
  }
  return sum;
}

}  // namespace spade::cuda
