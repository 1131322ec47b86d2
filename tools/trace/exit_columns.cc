#include "tools/trace/exit_columns.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/sampling/vocab_scan.h"

namespace spade {

ExitOutcomes MakeOutcomes(const Traces& traces, const std::vector<Prompt>& prompts,
                          std::span<const ExitHead> heads, SpadePosition position,
                          const std::function<bool(const Prompt&)>& included) {
  ExitOutcomes outcomes;
  for (const ExitHead& head : heads) outcomes.exits.push_back(ExitColumn{head.layer, {}, {}});
  std::vector<float> probabilities(static_cast<size_t>(traces.shape.labels));
  for (size_t p = 0; p < traces.prompts(); ++p) {
    if (!included(prompts[p])) continue;
    outcomes.rows.push_back(static_cast<int32_t>(prompts[p].ids.size()));
    const int32_t full = ArgMax(traces.Full(p));
    for (size_t e = 0; e < heads.size(); ++e) {
      const int32_t exit = heads[e].layer - traces.shape.first_layer;
      const int32_t answer = ArgMax(traces.Spade(p, exit, position));
      outcomes.exits[e].entropies.push_back(
          heads[e].Entropy(traces.Hidden(p, exit), probabilities));
      outcomes.exits[e].mismatches.push_back(answer != full);
    }
  }
  return outcomes;
}

double SecondsPerCheck(const ExitHead& head, std::span<const float> hidden) {
  constexpr int kRepeats = 2000;
  std::vector<float> probabilities(head.bias.size());
  const auto start = std::chrono::steady_clock::now();
  double sum = 0;
  for (int i = 0; i < kRepeats; ++i) sum += head.Entropy(hidden, probabilities);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return sum >= 0 ? elapsed.count() / kRepeats : 0;  // the sum is used, so the calls stay
}

std::vector<TradePoint> TradeCurve(const ExitOutcomes& outcomes, const LayerCosts& costs,
                                   int32_t points) {
  std::vector<float> entropies;
  for (const ExitColumn& exit : outcomes.exits) {
    entropies.insert(entropies.end(), exit.entropies.begin(), exit.entropies.end());
  }
  std::ranges::sort(entropies);
  std::vector<TradePoint> curve;
  const auto prompts = static_cast<double>(outcomes.prompts());
  for (int32_t i = 0; i <= points && !entropies.empty(); ++i) {
    const size_t place = static_cast<size_t>(i) * (entropies.size() - 1) / size_t(points);
    const float threshold = i == 0 ? 0 : std::nextafter(entropies[place], INFINITY);
    const std::vector<float> thresholds(outcomes.exits.size(), threshold);
    const ExitReplay replay = ReplayExits(outcomes, thresholds, costs);
    curve.push_back({double(replay.TotalMismatched()) / prompts,
                     double(replay.TotalExited()) / prompts, replay.NetSaving()});
  }
  return curve;
}

double OracleSaving(const ExitOutcomes& outcomes, const LayerCosts& costs) {
  double saved = 0;
  double full = 0;
  for (size_t p = 0; p < outcomes.prompts(); ++p) {
    full += costs.Full(outcomes.rows[p]);
    int32_t layer = -1;
    for (size_t e = outcomes.exits.size(); e-- > 0 && !outcomes.exits[e].mismatches[p];) {
      layer = outcomes.exits[e].layer;
    }
    if (layer >= 0) saved += costs.Saved(outcomes.rows[p], layer);
  }
  return full > 0 ? saved / full : 0;
}

}  // namespace spade
