#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/types.h"

namespace spade {

// Where a row's way through the layers ended.
struct TokenEnd {
  TokenId token = 0;             // the most probable one
  float log_sum_exp = 0;         // of the logits of all tokens
  std::span<const float> state;  // (hidden_size): before the final norm
};

// Rows of generated tokens as they went through the layers from first_layer on, `rows_per_prompt`
// records a prompt.
struct TokenTraces {
  int32_t first_layer = 0;
  int32_t num_layers = 0;
  int32_t hidden_size = 0;
  int32_t rows_per_prompt = 0;
  std::vector<float> values;  // (records, record_floats)

  int32_t exits() const { return num_layers - first_layer; }
  // Where full depth ended, then where the SPADE pass from each watched layer did, then the row's
  // hidden states after each watched layer.
  int64_t record_floats() const { return hidden_offset(exits()); }
  size_t records() const { return values.size() / static_cast<size_t>(record_floats()); }

  TokenEnd Full(size_t record) const { return End(record, 0); }
  TokenEnd Spade(size_t record, int32_t exit) const { return End(record, spade_offset(exit)); }
  std::span<const float> Hidden(size_t record, int32_t exit) const {
    return At(record, hidden_offset(exit), hidden_size);
  }
  // The token drawn at full depth.
  TokenId Drawn(size_t record) const { return Full(record).token; }

  // Offsets in a record; an end is token, log_sum_exp, state.
  int64_t end_floats() const { return 2 + int64_t{hidden_size}; }
  int64_t spade_offset(int32_t exit) const { return (1 + exit) * end_floats(); }
  int64_t hidden_offset(int32_t exit) const {
    return (1 + exits()) * end_floats() + int64_t{exit} * hidden_size;
  }

 private:
  TokenEnd End(size_t record, int64_t offset) const {
    const auto end = At(record, offset, end_floats());
    return {static_cast<TokenId>(end[0]), end[1], end.subspan(2)};
  }
  std::span<const float> At(size_t record, int64_t offset, int64_t count) const {
    const auto begin = static_cast<int64_t>(record) * record_floats() + offset;
    return std::span(values).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  }
};

}  // namespace spade
