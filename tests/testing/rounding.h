#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/backend.h"
#include "kernels/dtype.h"
#include "kernels/matrix.h"

namespace spade::testing {

inline float NearestBF16(float value) { return BF16ToFloat(FloatToBF16(value)); }

// Rounds to nearest even through the double grid of the half format.
inline uint16_t FloatToF16(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(static_cast<double>(value));
  if (std::isnan(value)) return 0x7e00;
  if (magnitude == 0) return sign;
  if (magnitude >= 65520) return static_cast<uint16_t>(sign | 0x7c00);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int scale = std::max(exponent - 11, -24);  // of the last mantissa bit
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -scale)));
  // Adding the exponent field lets a mantissa that rounds up carry into it.
  const int field = scale == -24 ? units : ((scale + 24) << 10) + units;
  return static_cast<uint16_t>(sign | field);
}

// The nearest F16, its largest for what is beyond.
inline float NearestF16(float value) {
  if (std::fabs(value) > kMaxF16) value = std::copysign(kMaxF16, value);
  return F16ToFloat(FloatToF16(value));
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
