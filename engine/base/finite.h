#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace spade {

// Whether none of them is a NaN or an infinity.
inline bool AllFinite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace spade
