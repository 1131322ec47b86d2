#pragma once

#include <algorithm>
#include <vector>

namespace spade::bench {

// 0 of none.
inline double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace spade::bench
