#pragma once

#include <cstdint>
#include <vector>

#include "engine/exit/outcomes.h"

namespace spade {

struct ChooseOptions {
  int32_t min_exits = 4;
  int32_t max_exits = 8;
  std::vector<double> max_mismatches;  // savings at these bounds count alike
  double confidence = 0.95;
  int64_t certification_prompts = 0;
};

// Picks exit points from `candidates`, one column for each layer that could have one: greedily adds
// the layer that raises the predicted net saving (prompt rows spared minus checks) most, until none
// does or there are max_exits; deeper layers first where nothing is gained. Returns ascending
// indices of candidates.exits, at least min(min_exits, candidates) of them.
std::vector<int32_t> ChooseExits(const ExitOutcomes& candidates, const LayerCosts& costs,
                                 const ChooseOptions& options);

}  // namespace spade
