#include "tools/trace/traces.h"

#include <algorithm>

namespace spade {

std::span<const float> Traces::At(size_t prompt, int64_t offset, int64_t count) const {
  const auto begin = static_cast<int64_t>(prompt) * shape.record_floats() + offset;
  return std::span(values).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
}

std::span<const float> Traces::Full(size_t prompt) const { return At(prompt, 0, shape.labels); }

std::span<const float> Traces::Hidden(size_t prompt, int32_t exit) const {
  return At(prompt, shape.labels + exit * shape.exit_floats(), shape.hidden_size);
}

std::span<const float> Traces::Lens(size_t prompt, int32_t exit) const {
  return At(prompt, shape.labels + exit * shape.exit_floats() + shape.hidden_size, shape.labels);
}

std::span<const float> Traces::Spade(size_t prompt, int32_t exit, SpadePosition position) const {
  const int64_t before = position == SpadePosition::kKept ? 1 : 2;
  return At(prompt,
            shape.labels + exit * shape.exit_floats() + shape.hidden_size + before * shape.labels,
            shape.labels);
}

}  // namespace spade
