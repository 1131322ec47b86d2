#include "engine/schedule/draft_policy.h"

namespace spade {
namespace {

// Below this the prediction's error is larger than the gain.
constexpr double kMinSpeedup = 1.03;

// Tokens a second of runs of up to `max_in_row` drafts. Each row of a run is sure enough to be
// drafted with probability `share`; else it goes to full depth itself and ends the run.
double TokensPerSecond(const DraftOption& option, const DraftSituation& situation,
                       const StageCosts& costs, int32_t max_in_row) {
  const double below =
      costs.Predict(0, option.boundary, situation.num_rows) + situation.check_seconds;
  double tokens = 0;
  double seconds = 0;
  double reached = 1;  // probability that the run has this many drafts
  for (int32_t drafts = 0; drafts <= max_in_row; ++drafts) {
    const bool last = drafts == max_in_row;
    const double ends = last ? reached : reached * (1 - option.share);
    // The drafts and the row that ends the run are verified together; of them the first that fails
    // ends what is kept. The token after the last accepted one comes with it.
    double kept = 1;
    double accepted = 1;
    for (int32_t i = 0; i < drafts; ++i) {
      accepted *= option.acceptance;
      kept += accepted;
    }
    const int64_t rows = situation.num_rows * (drafts + 1);
    const double above = costs.Predict(option.boundary, situation.num_stages, rows) +
                         situation.head_seconds * (drafts + 1);
    tokens += ends * kept;
    seconds += ends * ((drafts + 1) * below + above);
    reached *= option.share;
  }
  return seconds > 0 ? static_cast<double>(situation.num_rows) * tokens / seconds : 0;
}

}  // namespace

DraftChoice ChooseDrafting(std::span<const DraftOption> options, const DraftSituation& situation,
                           const StageCosts& costs) {
  const double plain_seconds =
      costs.Predict(0, situation.num_stages, situation.num_rows) + situation.head_seconds;
  if (plain_seconds <= 0) return {};
  const double plain = static_cast<double>(situation.num_rows) / plain_seconds;
  DraftChoice best;
  best.speedup = kMinSpeedup;
  for (size_t i = 0; i < options.size(); ++i) {
    for (int32_t length = 1; length <= situation.max_in_row; ++length) {
      const double speedup = TokensPerSecond(options[i], situation, costs, length) / plain;
      if (speedup <= best.speedup) continue;
      best = {static_cast<int32_t>(i), length, speedup};
    }
  }
  if (best.option < 0) best.speedup = 1;
  return best;
}

}  // namespace spade
