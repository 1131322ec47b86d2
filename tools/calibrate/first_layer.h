#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"

namespace spade {

// The earliest layer after which exits are considered: `asked`, or a third of the layers where 0.
inline absl::StatusOr<int32_t> FirstLayer(int32_t asked, int32_t num_layers) {
  const int32_t first = asked > 0 ? asked : std::max(1, num_layers / 3);
  if (first < num_layers) return first;
  return absl::InvalidArgumentError(
      absl::StrFormat("--first-layer must be below the model's %d layers", num_layers));
}

}  // namespace spade
