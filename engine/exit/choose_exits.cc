#include "engine/exit/choose_exits.h"

#include <algorithm>
#include <utility>

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
  return saving / std::max<double>(1, double(options.max_mismatches.size()));
}

std::vector<int32_t> With(std::vector<int32_t> chosen, int32_t index) {
  chosen.insert(std::ranges::upper_bound(chosen, index), index);
  return chosen;
}

struct Addition {
  int32_t index = -1;  // -1: all are chosen
  double saving = 0;
};

// The candidate that saves most beside those chosen.
Addition BestAddition(const ExitOutcomes& candidates, const std::vector<int32_t>& chosen,
                      const LayerCosts& costs, const ChooseOptions& options) {
  Addition best;
  for (auto index = static_cast<int32_t>(candidates.exits.size()) - 1; index >= 0; --index) {
    if (std::ranges::find(chosen, index) != chosen.end()) continue;
    const double saving = PredictedSaving(candidates, With(chosen, index), costs, options);
    if (best.index < 0 || saving > best.saving) best = {index, saving};
  }
  return best;
}

}  // namespace

ExitChoice ChooseExits(const ExitOutcomes& candidates, const LayerCosts& costs,
                       const ChooseOptions& options) {
  ExitChoice choice;
  while (true) {
    const Addition best = BestAddition(candidates, choice.exits, costs, options);
    if (best.index < 0) return choice;
    const int32_t layer = candidates.exits[static_cast<size_t>(best.index)].layer;
    const auto count = static_cast<int32_t>(choice.exits.size());
    const bool pays = best.saving > choice.saving;
    if (count >= options.max_exits || (!pays && count >= options.min_exits)) {
      choice.next = layer;
      choice.saving_with_next = best.saving;
      return choice;
    }
    if (!pays) choice.no_gain.push_back(layer);
    choice.exits = With(std::move(choice.exits), best.index);
    choice.saving = best.saving;
  }
}

}  // namespace spade
