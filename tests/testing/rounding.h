#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "kernels/backend.h"
#include "kernels/dtype.h"
#include "kernels/matrix.h"

namespace spade::testing {

inline float NearestBF16(float value) { return BF16ToFloat(FloatToBF16(value)); }

// The nearest F16, to even, and its largest for what is beyond.
inline float NearestF16(float value) {
  constexpr float kLargest = 65504;
  if (std::isnan(value)) return value;
  if (std::fabs(value) >= kLargest) return std::copysign(kLargest, value);
  constexpr int kBits = 11;
  constexpr int kLeastExponent = -13;  // of normal numbers, as frexp counts
  int exponent = 0;
  std::frexp(value, &exponent);
  const int shift = kBits - std::max(exponent, kLeastExponent);
  return std::ldexp(std::nearbyint(std::ldexp(value, shift)), -shift);
}

// A group of inputs in steps of a 127th of its largest.
inline void RoundToInt8(std::span<float> group) {
  float largest = 0;
  for (const float value : group) largest = std::max(largest, std::fabs(value));
  for (float& value : group) {
    const float steps = largest == 0 ? 0 : std::nearbyint(value * (127.0f / largest));
    value = steps * (largest / 127.0f);
  }
}

// Rounds a row of inputs as the device's products with such weights take it.
inline void RoundInputs(const BackendOptions& options, DType weights, std::span<float> row) {
  if (!Suits(options, options.compute, weights)) return;
  switch (options.compute) {
    case Compute::kF32:
      return;
    case Compute::kF16:
      for (float& value : row) value = NearestF16(value);
      return;
    case Compute::kBF16:
      for (float& value : row) value = NearestBF16(value);
      return;
    case Compute::kI8:
      for (size_t begin = 0; begin < row.size(); begin += kInt8Group) {
        RoundToInt8(row.subspan(begin, std::min<size_t>(kInt8Group, row.size() - begin)));
      }
  }
}

// Rounds weights that are stored as `dtype` as the device's products take them.
inline void RoundWeights(const BackendOptions& options, DType dtype, std::span<float> weights) {
  if (dtype != DType::kI8 || options.compute != Compute::kBF16) return;
  if (!Suits(options, options.compute, dtype)) return;
  for (float& value : weights) value = NearestBF16(value);
}

}  // namespace spade::testing
