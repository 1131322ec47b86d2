#include "engine/exit/choose_exits.h"

#include <algorithm>

#include "engine/exit/thresholds.h"

namespace spade {
namespace {

double PredictedSaving(const ExitOutcomes& candidates, const std::vector<int32_t>& chosen,
                       const LayerCosts& costs, const ChooseOptions& options) {
  ExitOutcomes outcomes;
  outcomes.rows = candidates.rows;
  for (const int32_t index : chosen) {
    outcomes.exits.push_back(candidates.exits[static_cast<size_t>(index)]);
  }
  double saving = 0;
  for (const double max_mismatch : options.max_mismatches) {
    const ThresholdOptions thresholds{max_mismatch, options.confidence,
                                      options.certification_prompts};
    const std::vector<float> best = BestThresholds(outcomes, costs, thresholds, /*margin=*/1);
    saving += ReplayExits(outcomes, best, costs).NetSaving();
  }
  return saving;
}

}  // namespace

std::vector<int32_t> ChooseExits(const ExitOutcomes& candidates, const LayerCosts& costs,
                                 const ChooseOptions& options) {
  const auto count = static_cast<int32_t>(candidates.exits.size());
  std::vector<int32_t> chosen;
  double saving = 0;
  while (static_cast<int32_t>(chosen.size()) < std::min(count, options.max_exits)) {
    int32_t best = -1;
    double best_saving = 0;
    for (int32_t index = count - 1; index >= 0; --index) {
      if (std::ranges::find(chosen, index) != chosen.end()) continue;
      std::vector<int32_t> trial = chosen;
      trial.insert(std::ranges::upper_bound(trial, index), index);
      const double with_it = PredictedSaving(candidates, trial, costs, options);
      if (best >= 0 && with_it <= best_saving) continue;
      best = index;
      best_saving = with_it;
    }
    const bool enough = static_cast<int32_t>(chosen.size()) >= options.min_exits;
    if (enough && best_saving <= saving) break;
    chosen.insert(std::ranges::upper_bound(chosen, best), best);
    saving = best_saving;
  }
  return chosen;
}

}  // namespace spade
