#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/dtype.h"

// Device code only. How weights and caches are stored, and loads of eight neighbours at once.

namespace spade::cuda {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

__device__ inline float ToFloat(float value) { return value; }
__device__ inline float ToFloat(int8_t value) { return static_cast<float>(value); }
__device__ inline float ToFloat(Half value) { return __half2float(__ushort_as_half(value.bits)); }
__device__ inline float ToFloat(BFloat16 value) {
  return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}

// Rounds to nearest even.
template <class T>
__device__ T FromFloat(float value);
template <>
__device__ inline float FromFloat<float>(float value) {
  return value;
}
template <>
__device__ inline Half FromFloat<Half>(float value) {
  return {__half_as_ushort(__float2half_rn(value))};
}
template <>
__device__ inline BFloat16 FromFloat<BFloat16>(float value) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
}

// To the nearest that the type holds: for F16 its largest, where the value is beyond it.
template <class T>
__device__ T NearestOf(float value) {
  return FromFloat<T>(value);
}
template <>
__device__ inline Half NearestOf<Half>(float value) {
  return FromFloat<Half>(fabsf(value) > kMaxF16 ? copysignf(kMaxF16, value) : value);
}

template <class T>
__device__ float Rounded(float value) {
  return ToFloat(NearestOf<T>(value));
}

__device__ inline float RoundToBF16(float value) { return Rounded<BFloat16>(value); }

// What inputs of products are rounded to, if they are, by what weights are stored as.
template <class Weight>
struct InputsWith {
  using Type = BFloat16;
};
template <>
struct InputsWith<Half> {
  using Type = Half;
};

// Eight elements from a place aligned to their size, as floats; 128-bit loads but for int8.
__device__ inline void Load8(const float* from, float (&to)[8]) {
  const float4 low = __ldg(reinterpret_cast<const float4*>(from));
  const float4 high = __ldg(reinterpret_cast<const float4*>(from) + 1);
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
  to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}

__device__ inline void Load8(const BFloat16* from, float (&to)[8]) {
  const uint4 raw = __ldg(reinterpret_cast<const uint4*>(from));
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = __uint_as_float(words[i] << 16);
    to[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

__device__ inline void Load8(const Half* from, float (&to)[8]) {
  const uint4 raw = __ldg(reinterpret_cast<const uint4*>(from));
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = ToFloat(Half{static_cast<uint16_t>(words[i] & 0xffffu)});
    to[2 * i + 1] = ToFloat(Half{static_cast<uint16_t>(words[i] >> 16)});
  }
}

// Conversion instructions would be the limit: a byte plus 128 is the mantissa of 2^23 + it instead.
__device__ inline void Load8(const int8_t* from, float (&to)[8]) {
  const uint2 raw = __ldg(reinterpret_cast<const uint2*>(from));
  const uint32_t words[2] = {raw.x ^ 0x80808080u, raw.y ^ 0x80808080u};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const uint32_t byte = (words[i / 4] >> (8 * (i % 4))) & 0xffu;
    to[i] = __uint_as_float(0x4b000000u | byte) - 8388736.0f;
  }
}

// Eight floats from anywhere: what lies at or beyond `count` is zero and not read.
__device__ inline void LoadSome8(const float* from, int64_t count, float (&to)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) to[i] = i < count ? from[i] : 0.0f;
}

// Four floats from a place aligned to their size, or zeros where `count` is not above zero.
__device__ inline void LoadSome4(const float* from, int64_t count, float& a, float& b, float& c,
                                 float& d) {
  float4 values = make_float4(0, 0, 0, 0);
  if (count > 0) values = __ldg(reinterpret_cast<const float4*>(from));
  a = values.x, b = values.y, c = values.z, d = values.w;
}

__device__ inline void Store8(float* to, const float (&from)[8]) {
  auto* vectors = reinterpret_cast<float4*>(to);
  vectors[0] = make_float4(from[0], from[1], from[2], from[3]);
  vectors[1] = make_float4(from[4], from[5], from[6], from[7]);
}

// Of F16 or BF16: NearestOf each.
template <class T>
__device__ void Store8(T* to, const float (&from)[8]) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    words[i] = NearestOf<T>(from[2 * i]).bits |
               static_cast<uint32_t>(NearestOf<T>(from[2 * i + 1]).bits) << 16;
  }
  *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
}

}  // namespace spade::cuda
