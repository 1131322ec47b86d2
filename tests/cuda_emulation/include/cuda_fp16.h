#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/dtype.h"

struct __half {
  uint16_t bits;
};

inline __half __ushort_as_half(uint16_t bits) { return {bits}; }
inline uint16_t __half_as_ushort(__half value) { return value.bits; }
inline float __half2float(__half value) { return spade::F16ToFloat(value.bits); }

// Rounds to nearest even; beyond the largest half lies infinity.
inline __half __float2half_rn(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return {0x7fff};
  if (magnitude == 0) return {sign};
  if (magnitude >= 65520.0f) return {static_cast<uint16_t>(sign | 0x7c00u)};
  // A unit in the last place: 2^-24 below 2^-14, else 2^-10 of the value's power of two.
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int unit = std::max(exponent - 11, -24);
  const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -unit)));
  return {static_cast<uint16_t>(sign | ((static_cast<uint32_t>(unit + 24) << 10) + steps))};
}
