#pragma once

#include <cstdint>
#include <vector>

#include "engine/exit/outcomes.h"

namespace spade {

struct ThresholdOptions {
  double max_mismatch = 0.01;
  double confidence = 0.95;
  // Prompts of the split the thresholds will be certified on; counts are scaled to it.
  int64_t certification_prompts = 0;
};

// The thresholds that save most on `outcomes` among those whose every exit has an upper mismatch
// bound (scaled to the certification split) of at most `margin` * max_mismatch. A prediction, not
// a guarantee: it looks at the same prompts that it chooses on. (exits)
std::vector<float> BestThresholds(const ExitOutcomes& outcomes, const LayerCosts& costs,
                                  const ThresholdOptions& options, double margin);

// BestThresholds for margins from strict to loose, without repeats and without the vector that
// closes every exit: the hypotheses that certification tests in this order. They must come from
// prompts that certification never sees.
std::vector<std::vector<float>> PlanThresholds(const ExitOutcomes& outcomes,
                                               const LayerCosts& costs,
                                               const ThresholdOptions& options);

}  // namespace spade
