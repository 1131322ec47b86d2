#include "engine/schedule/hold_policy.h"

#include <algorithm>
#include <cmath>

namespace spade {
namespace {

constexpr double kLearning = 0.05;   // weight of a step in the shares
constexpr double kLeastGain = 1.02;  // of a larger batch over a smaller: what is measured is noisy

// Tokens a second where `batch` rows wait for each other: then half of them stand still on average.
// Each pass below the boundary gives a token to all others, and the share of them that goes deeper
// fills the next batch. A row takes those of its sequence with it that were parked since the last.
double RateOf(double batch, const HoldSituation& situation, const StageCosts& costs) {
  const double moving = situation.num_sequences - batch / 2;
  const double deeper = situation.deeper_share * moving;
  const double rows = std::max(batch, deeper);
  const double with_parked =
      std::min(1.0 / situation.deeper_share, situation.max_parked + 1.0) * rows;
  const double below = costs.Predict(0, situation.boundary, std::llround(moving));
  const double above =
      costs.Predict(situation.boundary, situation.num_stages,
                    std::max<int64_t>(1, std::llround(with_parked))) +
      costs.Predict(situation.num_stages + kHeadCost, std::max<int64_t>(1, std::llround(rows)));
  const double seconds = below + above * std::min(1.0, deeper / rows);
  return seconds > 0 ? moving / seconds : 0;
}

}  // namespace

int32_t ChooseHold(const HoldSituation& situation, const StageCosts& costs) {
  // Rows that always go deeper meet all the same, and none ever does where there is none.
  if (situation.deeper_share <= 0 || situation.deeper_share >= 1) return 0;
  if (situation.num_sequences < 2) return 0;
  double best_rate = RateOf(0, situation, costs);
  int32_t best = 0;
  for (int32_t batch = 2; batch <= situation.num_sequences / 2; batch *= 2) {
    const double rate = RateOf(batch, situation, costs);
    if (rate <= best_rate * kLeastGain) continue;
    best_rate = rate;
    best = batch;
  }
  return best;
}

double Patience(const Urgency& urgency, double longest_wait) {
  if (urgency.priority < urgency.lowest_priority) return 0;
  if (!urgency.seconds_left) return longest_wait;
  const double spare = *urgency.seconds_left - urgency.tokens_left * urgency.seconds_per_token;
  return std::clamp(spare, 0.0, longest_wait);
}

void HoldPolicy::Observe(int32_t boundary, int64_t reached, int64_t deeper) {
  double& share = deeper_share_[static_cast<size_t>(boundary)];
  share += kLearning * (static_cast<double>(deeper) / static_cast<double>(reached) - share);
}

bool HoldPolicy::Waits(int32_t boundary, int64_t together, HoldSituation situation,
                       const StageCosts& costs) const {
  if (options_.batch > 0) return together < std::min(options_.batch, situation.num_sequences);
  situation.boundary = boundary;
  situation.deeper_share = deeper_share_[static_cast<size_t>(boundary)];
  return together < ChooseHold(situation, costs);
}

}  // namespace spade
