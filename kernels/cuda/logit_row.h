#pragma once

#include <cuda_runtime.h>

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/logits.h"
#include "kernels/cuda/warp.h"
#include "kernels/exp_one.h"

// Device code only: passes of one block over one row of logits.

namespace spade::cuda {

// A token's place in the order of all cuts and ties, above it what is more probable: its logit,
// mapped to an integer of the same order, then its id, low ones first. 0: no token.
using Code = unsigned long long;

inline constexpr int kRowThreads = 512;
inline constexpr int kRowWarps = kRowThreads / kWarp;
inline constexpr int kListed = kRowThreads;  // tokens of a list: one a thread
inline constexpr int kDigitBits = 11;
inline constexpr int kBins = 1 << kDigitBits;

struct RowShared {
  Fixed partial[kRowWarps];
  double partial_double[kRowWarps];
  Code codes[kListed];
  Fixed weights[kListed];
  Fixed bin_sums[kBins];
  unsigned bin_counts[kBins];
  Code code;
  Fixed above;
  unsigned count;
  int digit;
  int32_t id;
};

struct LogitRow {
  float* data = nullptr;
  int32_t size = 0;      // tokens
  bool vectors = false;  // 128-bit loads are allowed
};

__device__ inline bool IsDrawable(float x) { return x > -INFINITY; }
__device__ inline float Drawable(float x) { return x > FLT_MAX ? FLT_MAX : x; }

__device__ inline Code CodeOf(float x, int32_t id) {
  const uint32_t bits = __float_as_uint(x + 0.0f);  // -0 is 0
  const uint32_t key = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<Code>(key) << 32 | ~static_cast<uint32_t>(id);
}
__device__ inline int32_t IdOf(Code code) {
  return static_cast<int32_t>(~static_cast<uint32_t>(code));
}
__device__ inline float LogitOf(Code code) {
  const auto key = static_cast<uint32_t>(code >> 32);
  return __uint_as_float((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}
// Below the codes of all tokens with a logit of at least `x`, or no more than the rounding of one.
__device__ inline Code BoundBelow(double x) {
  const float bound = nextafterf(static_cast<float>(fmax(x, -double{FLT_MAX})), -INFINITY);
  return IsDrawable(bound) ? CodeOf(bound, -1) : 0;
}

// Calls fn(id, logit) for the tokens of [begin, end), a multiple of four apart from the start, that
// are this one's of `lanes` lanes.
template <class Fn>
__device__ void ForTokens(const LogitRow& row, int32_t begin, int32_t end, int lane, int lanes,
                          const Fn& fn) {
#pragma unroll 2
  for (int64_t first = begin + 4 * lane; first < end; first += 4 * lanes) {
    float x[4];
    if (row.vectors && first + 4 <= end) {
      const float4 four = *reinterpret_cast<const float4*>(row.data + first);
      x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = first + i < end ? row.data[first + i] : -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (first + i < end) fn(static_cast<int32_t>(first + i), x[i]);
    }
  }
}

// Calls fn(logit, code) for the row's tokens that can be drawn, each by one thread of the block.
template <class Fn>
__device__ void ForDrawable(const LogitRow& row, const Fn& fn) {
  ForTokens(row, 0, row.size, static_cast<int>(threadIdx.x), kRowThreads, [&](int32_t id, float x) {
    if (!IsDrawable(x)) return;
    x = Drawable(x);
    fn(x, CodeOf(x, id));
  });
}

// ---- Reductions over the block, in one order; every thread gets the result

template <class T>
__device__ T WarpSumOf(T value) {
#pragma unroll
  for (int offset = 1; offset < kWarp; offset *= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

template <class T>
__device__ T RowSum(T value, T (&partial)[kRowWarps]) {
  value = WarpSumOf(value);
  __syncthreads();  // what was read of `partial` before
  if (Lane() == 0) partial[WarpIndex()] = value;
  __syncthreads();
  T sum = 0;
#pragma unroll
  for (int i = 0; i < kRowWarps; ++i) sum += partial[i];
  return sum;
}

__device__ inline Code RowMax(Code value, Code (&partial)[kRowWarps]) {
#pragma unroll
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const Code other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other > value ? other : value;
  }
  __syncthreads();
  if (Lane() == 0) partial[WarpIndex()] = value;
  __syncthreads();
  Code best = 0;
#pragma unroll
  for (int i = 0; i < kRowWarps; ++i) best = partial[i] > best ? partial[i] : best;
  return best;
}

struct BestTokens {
  Code of_thread = 0;  // of the tokens that are this thread's; 0: none
  Code of_row = 0;
};

__device__ inline BestTokens FindBest(const LogitRow& row, RowShared& shared) {
  BestTokens best;
  ForDrawable(row, [&](float, Code code) {
    best.of_thread = code > best.of_thread ? code : best.of_thread;
  });
  best.of_row = RowMax(best.of_thread, shared.partial);
  return best;
}

// Probabilities relative to the most probable token's, as the host computes them.
struct Weigher {
  float max = 0;
  float temperature = 1;
  __device__ float operator()(float x) const { return ExpOrZero((x - max) / temperature); }
};

__device__ inline Fixed ToFixed(float weight) { return __float2ull_rz(weight * kFixedOne); }

}  // namespace spade::cuda
