#pragma once

#include <cstdint>

#include "engine/runtime/step_runner.h"

namespace spade {

inline constexpr int64_t kSamplerLanes = 16;  // scratch for as many draws at a time

// Prompt rows [begin, end) of an item whose logits score the prompt token after each.
struct ScoredRows {
  int32_t begin = 0;
  int32_t end = 0;
};
ScoredRows RowsToScore(const StepItem& item);

// The item's last rows whose outputs are needed.
int32_t WantedRows(const StepItem& item);

}  // namespace spade
