#include "engine/exit/outcomes.h"

#include <numeric>

#include "kernels/check.h"

namespace spade {

int64_t ExitReplay::TotalExited() const {
  return std::accumulate(exited.begin(), exited.end(), int64_t{0});
}

int64_t ExitReplay::TotalMismatched() const {
  return std::accumulate(mismatched.begin(), mismatched.end(), int64_t{0});
}

ExitReplay ReplayExits(const ExitOutcomes& outcomes, std::span<const float> thresholds,
                       const LayerCosts& costs) {
  SPADE_CHECK(thresholds.size() == outcomes.exits.size());
  ExitReplay replay;
  replay.exited.resize(thresholds.size());
  replay.mismatched.resize(thresholds.size());
  for (size_t prompt = 0; prompt < outcomes.prompts(); ++prompt) {
    const int32_t rows = outcomes.rows[prompt];
    replay.full_cost += costs.Full(rows);
    for (size_t e = 0; e < thresholds.size(); ++e) {
      if (thresholds[e] <= 0) continue;
      const ExitColumn& exit = outcomes.exits[e];
      replay.check_cost += costs.check;
      if (exit.entropies[prompt] >= thresholds[e]) continue;
      replay.exited[e] += 1;
      replay.mismatched[e] += exit.mismatches[prompt];
      replay.saved_cost += costs.Saved(rows, exit.layer);
      break;
    }
  }
  return replay;
}

}  // namespace spade
