#include "engine/exit/thresholds.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <span>

#include "engine/exit/binomial.h"

namespace spade {
namespace {

constexpr size_t kMaxCuts = 100;  // thresholds tried at one exit
constexpr double kStrictestMargin = 0.3;
constexpr double kLoosestMargin = 1.5;
constexpr double kMarginStep = 0.1;

// Per exit, all prompts by ascending entropy.
using EntropyOrder = std::vector<std::vector<uint32_t>>;

EntropyOrder SortByEntropy(const ExitOutcomes& outcomes) {
  EntropyOrder order(outcomes.exits.size(), std::vector<uint32_t>(outcomes.prompts()));
  for (size_t e = 0; e < order.size(); ++e) {
    std::iota(order[e].begin(), order[e].end(), 0u);
    const std::vector<float>& entropies = outcomes.exits[e].entropies;
    std::ranges::stable_sort(order[e], {}, [&](uint32_t prompt) { return entropies[prompt]; });
  }
  return order;
}

// The p-value of "the rate exceeds max_mismatch", or 1 at once where it cannot be small.
double PValue(double failures, double trials, double max_mismatch, double confidence) {
  if (failures >= max_mismatch * trials) return 1;
  if (trials * std::log1p(-max_mismatch) > std::log1p(-confidence)) return 1;
  return BinomialCdf(failures, trials, max_mismatch);
}

// The widest threshold of one exit whose predicted bound holds on the prompts in `reaching`
// (ascending entropies); 0 when none does. Scales counts by `scale`.
float WidestThreshold(const ExitColumn& exit, std::span<const uint32_t> reaching, double scale,
                      double confidence, double max_mismatch) {
  const size_t stride = std::max<size_t>(1, reaching.size() / kMaxCuts);
  double failures = 0;
  float widest = 0;
  for (size_t i = 0; i < reaching.size(); ++i) {
    failures += exit.mismatches[reaching[i]];
    const bool last = i + 1 == reaching.size();
    if (!last && (i + 1) % stride != 0) continue;
    const float here = exit.entropies[reaching[i]];
    const float next = last ? std::nextafter(here, INFINITY) : exit.entropies[reaching[i + 1]];
    if (next <= here) continue;  // a tie cannot be cut
    const double trials = scale * static_cast<double>(i + 1);
    if (PValue(scale * failures, trials, max_mismatch, confidence) > 1 - confidence) continue;
    const float middle = here + (next - here) / 2;
    widest = middle > here ? middle : next;
  }
  return widest;
}

// From the earliest exit on, each as wide as the bound lets it be: an early exit saves most, and
// every exit has a bound of its own, so none spends another's allowance.
std::vector<float> GreedyThresholds(const ExitOutcomes& outcomes, const EntropyOrder& order,
                                    const std::vector<bool>& open, const ThresholdOptions& options,
                                    double margin) {
  const double scale =
      double(options.certification_prompts) / std::max(1.0, double(outcomes.prompts()));
  const double max_mismatch = std::min(1.0, margin * options.max_mismatch);
  std::vector<bool> left(outcomes.prompts());
  std::vector<float> thresholds(outcomes.exits.size(), 0.0f);
  std::vector<uint32_t> reaching;
  for (size_t e = 0; e < outcomes.exits.size(); ++e) {
    if (!open[e]) continue;
    reaching.clear();
    std::ranges::copy_if(order[e], std::back_inserter(reaching),
                         [&](uint32_t p) { return !left[p]; });
    const ExitColumn& exit = outcomes.exits[e];
    thresholds[e] = WidestThreshold(exit, reaching, scale, options.confidence, max_mismatch);
    for (const uint32_t p : reaching) {
      if (exit.entropies[p] >= thresholds[e]) break;
      left[p] = true;
    }
  }
  return thresholds;
}

}  // namespace

std::vector<float> BestThresholds(const ExitOutcomes& outcomes, const LayerCosts& costs,
                                  const ThresholdOptions& options, double margin) {
  const EntropyOrder order = SortByEntropy(outcomes);
  std::vector<bool> open(outcomes.exits.size(), true);
  std::vector<float> best = GreedyThresholds(outcomes, order, open, options, margin);
  double best_saving = ReplayExits(outcomes, best, costs).NetSaving();
  // An early exit that takes a few prompts can starve a later one of the many it needs for its
  // bound, or not be worth its check: try each closed.
  for (size_t e = 0; e < open.size(); ++e) {
    open[e] = false;
    const std::vector<float> without = GreedyThresholds(outcomes, order, open, options, margin);
    const double saving = ReplayExits(outcomes, without, costs).NetSaving();
    open[e] = saving <= best_saving;
    if (saving > best_saving) {
      best = without;
      best_saving = saving;
    }
  }
  if (best_saving <= 0) std::ranges::fill(best, 0.0f);
  return best;
}

std::vector<std::vector<float>> PlanThresholds(const ExitOutcomes& outcomes,
                                               const LayerCosts& costs,
                                               const ThresholdOptions& options) {
  std::vector<std::vector<float>> plan;
  const int steps =
      static_cast<int>(std::lround((kLoosestMargin - kStrictestMargin) / kMarginStep));
  for (int step = 0; step <= steps; ++step) {
    const double margin = kStrictestMargin + step * kMarginStep;
    std::vector<float> thresholds = BestThresholds(outcomes, costs, options, margin);
    const bool closed = std::ranges::all_of(thresholds, [](float t) { return t <= 0; });
    if (!closed && (plan.empty() || plan.back() != thresholds))
      plan.push_back(std::move(thresholds));
  }
  return plan;
}

}  // namespace spade
