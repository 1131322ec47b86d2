#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/exit/calibration.h"

namespace spade {

// The layers that were watched, first_layer .. num_layers - 1, and the width of what was kept.
struct TraceShape {
  int32_t first_layer = 0;
  int32_t num_layers = 0;
  int32_t hidden_size = 0;
  int32_t labels = 0;

  int32_t exits() const { return num_layers - first_layer; }
  int64_t exit_floats() const { return hidden_size + int64_t{3} * labels; }
  // Floats of one prompt: full depth's label logits, then per exit the answer row's hidden state
  // and the label logits of the lens and of the SPADE passes (kept, reset).
  int64_t record_floats() const { return labels + exits() * exit_floats(); }
};

// What every prompt's answer row held and would have answered at every watched layer.
struct Traces {
  TraceShape shape;
  std::vector<float> values;  // (prompts, record_floats)

  size_t prompts() const { return values.size() / static_cast<size_t>(shape.record_floats()); }
  // Label logits at full depth: (labels).
  std::span<const float> Full(size_t prompt) const;
  // `exit` counts from 0 at first_layer.
  std::span<const float> Hidden(size_t prompt, int32_t exit) const;  // (hidden_size)
  std::span<const float> Lens(size_t prompt, int32_t exit) const;    // (labels)
  std::span<const float> Spade(size_t prompt, int32_t exit, SpadePosition position) const;

 private:
  std::span<const float> At(size_t prompt, int64_t offset, int64_t count) const;
};

}  // namespace spade
