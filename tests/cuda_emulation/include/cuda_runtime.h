#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "cuda_runtime_api.h"
#include "emulator/block.h"

// The device side of CUDA C++ as far as the kernels use it, in host C++: a block's threads are
// fibers that run one at a time (emulator/block.h). Compile with -fno-strict-aliasing, as device
// code may be written, and -ffp-contract=off, as the kernels are.

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)

// Of the fiber that runs; set on every switch.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

using std::max;
using std::min;

inline void __syncthreads() { spade::cuda_emulation::SyncBlock(); }

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
  constexpr size_t kWords = sizeof(T) / sizeof(uint32_t);
  static_assert(sizeof(T) % sizeof(uint32_t) == 0);
  const auto lane = static_cast<int>(threadIdx.x) % 32;
  auto words = std::bit_cast<std::array<uint32_t, kWords>>(value);
  for (uint32_t& word : words) {
    word = spade::cuda_emulation::Exchange(mask, word, lane ^ lane_mask);
  }
  return std::bit_cast<T>(words);
}

// Fibers run one at a time.
template <class T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  *address += value;
  return old;
}

template <class T>
T __ldg(const T* from) {
  return *from;
}

inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t __float_as_uint(float value) { return std::bit_cast<uint32_t>(value); }
inline unsigned long long __float2ull_rz(float value) {
  return static_cast<unsigned long long>(value);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
