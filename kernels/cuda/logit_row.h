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

// Calls fn(id, logit) for the tokens of [begin, end) that are this one's of `lanes` lanes, four
// neighbours at a time. begin is a multiple of four. kAhead: loads of a lane in flight together.
template <int kAhead, class Fn>
__device__ void ForTokens(const LogitRow& row, int32_t begin, int32_t end, int lane, int lanes,
                          const Fn& fn) {
  const int step = 4 * lanes;
  int first = begin + 4 * lane;  // at most kMaxReadTokens and a few steps
  if (row.vectors) {
    for (; first + (kAhead - 1) * step + 4 <= end; first += kAhead * step) {
      float4 x[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        x[i] = *reinterpret_cast<const float4*>(row.data + first + i * step);
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int id = first + i * step;
        fn(id, x[i].x), fn(id + 1, x[i].y), fn(id + 2, x[i].z), fn(id + 3, x[i].w);
      }
    }
  }
  for (; first < end; first += step) {
    const int last = first + 4 < end ? first + 4 : end;
#pragma unroll 1
    for (int id = first; id < last; ++id) fn(id, row.data[id]);
  }
}

// Calls fn(logit, code) for the row's tokens that can be drawn, each by one thread of the block.
template <int kAhead = 1, class Fn>
__device__ void ForDrawable(const LogitRow& row, const Fn& fn) {
  ForTokens<kAhead>(row, 0, row.size, static_cast<int>(threadIdx.x), kRowThreads,
                    [&](int32_t id, float x) {
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
  ForDrawable<4>(row, [&](float, Code code) {
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
