#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "kernels/dtype.h"
#include "kernels/matrix.h"

namespace spade::testing {

// Rounds a row of inputs as products in `compute` with such weights take it.
inline void RoundInputs(Compute compute, DType weights, std::span<float> row) {
  if (compute == Compute::kF32 || !Suits(compute, weights)) return;
  if (compute == Compute::kBF16) {
    for (float& value : row) value = BF16ToFloat(FloatToBF16(value));
    return;
  }
  for (size_t begin = 0; begin < row.size(); begin += kInt8Group) {
    const auto group = row.subspan(begin, std::min<size_t>(kInt8Group, row.size() - begin));
    float largest = 0;
    for (const float value : group) largest = std::max(largest, std::fabs(value));
    for (float& value : group) {
      const float steps = largest == 0 ? 0 : std::nearbyint(value * (127.0f / largest));
      value = steps * (largest / 127.0f);
    }
  }
}

}  // namespace spade::testing
