#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/types.h"

namespace spade {

// Rows of generated tokens as they went through the layers from first_layer on, `rows_per_prompt`
// records a prompt.
struct TokenTraces {
  int32_t first_layer = 0;
  int32_t num_layers = 0;
  int32_t hidden_size = 0;
  int32_t rows_per_prompt = 0;
  std::vector<float> values;  // (records, record_floats)

  int32_t exits() const { return num_layers - first_layer; }
  // The token drawn at full depth, log sum exp of its logits, then the row's hidden states: at full
  // depth, before the final norm, and after each watched layer.
  int64_t record_floats() const { return 2 + int64_t{1 + exits()} * hidden_size; }
  size_t records() const { return values.size() / static_cast<size_t>(record_floats()); }

  TokenId Drawn(size_t record) const { return static_cast<TokenId>(At(record, 0, 1)[0]); }
  float LogSumExp(size_t record) const { return At(record, 1, 1)[0]; }
  std::span<const float> Final(size_t record) const { return At(record, 2, hidden_size); }
  std::span<const float> Hidden(size_t record, int32_t exit) const {
    return At(record, 2 + int64_t{1 + exit} * hidden_size, hidden_size);
  }

 private:
  std::span<const float> At(size_t record, int64_t offset, int64_t count) const {
    const auto begin = static_cast<int64_t>(record) * record_floats() + offset;
    return std::span(values).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  }
};

}  // namespace spade
