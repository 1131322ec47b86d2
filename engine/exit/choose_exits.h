#pragma once

#include <cstdint>
#include <optional>
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

// The exit points picked, and why no more were.
struct ExitChoice {
  std::vector<int32_t> exits;    // ascending indices of the candidates' columns
  std::vector<int32_t> no_gain;  // layers of those that only min_exits asked for
  double saving = 0;             // predicted with them: mean share of compute over the bounds
  std::optional<int32_t> next;   // layer of the best one left out; none: all were taken
  double saving_with_next = 0;
};

// Picks exit points from `candidates`, one column for each layer that could have one: greedily adds
// the layer that raises the predicted net saving (prompt rows spared minus checks) most, until none
// does or there are max_exits; deeper layers first where nothing is gained. At least
// min(min_exits, candidates) of them.
ExitChoice ChooseExits(const ExitOutcomes& candidates, const LayerCosts& costs,
                       const ChooseOptions& options);

}  // namespace spade
