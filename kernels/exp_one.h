#pragma once

#include <bit>
#include <cstdint>

namespace spade {

inline constexpr float kSmallestPower = -87.0f;  // exp() of less is no normal float

// exp(x) for x in [kSmallestPower, 0]: relative error below 3e-7, exactly 1 at 0. NaN and what is
// smaller count as kSmallestPower. Written so that it compiles to vector instructions on the host,
// and constexpr so that a GPU computes the same bits where nothing is contracted.
constexpr float ExpOne(float x) {
  // Cody and Waite's reduction to [-ln2/2, ln2/2], then the Taylor polynomial of degree 7.
  x = x > kSmallestPower ? x : kSmallestPower;
  const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  const int32_t power = (std::bit_cast<int32_t>(shifted) + 127) << 23;
  return p * std::bit_cast<float>(power);
}

// The same, and 0 where x is NaN or so small that exp(x) is no normal float.
constexpr float ExpOrZero(float x) {
  const float power = ExpOne(x);
  return x >= kSmallestPower ? power : 0.0f;
}

}  // namespace spade
