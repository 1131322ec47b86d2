#include "engine/runtime/draft_tuner.h"

#include <algorithm>

namespace spade {
namespace {

constexpr int32_t kStepsBetweenChoices = 64;
constexpr double kTrialsToLearn = 64;  // as many count as much as all before them
constexpr double kForgetting = 0.02;   // a step back to the promise where nothing was drafted
constexpr double kLowest = 0.1;
constexpr double kHighest = 1.25;

}  // namespace

DraftTuner::DraftTuner(const TokenCalibration* calibration, std::vector<int32_t> boundaries,
                       int32_t max_in_row)
    : calibration_(*calibration), boundaries_(std::move(boundaries)), max_in_row_(max_in_row) {
  for (size_t exit = 0; exit < calibration_.drafts.size(); ++exit) {
    for (const DraftPoint& point : calibration_.drafts[exit]) {
      options_.push_back({boundaries_[exit], point.threshold, point.share, point.agreement});
      exits_.push_back(exit);
    }
  }
}

void DraftTuner::Observe(int32_t accepted, bool failed) {
  held_ += accepted;
  trials_ += accepted + (failed ? 1 : 0);
}

void DraftTuner::OnStep(int64_t num_rows, const StageCosts& costs, DraftRule* rule) {
  if (steps_-- > 0) return;
  steps_ = kStepsBetweenChoices;
  if (choice_.option >= 0 && trials_ > 0) {
    const double promised = options_[static_cast<size_t>(choice_.option)].acceptance;
    const double weight = trials_ / (trials_ + kTrialsToLearn);
    const double measured = held_ / trials_ / std::max(promised, 1e-3);
    correction_ = std::clamp(correction_ + weight * (measured - correction_), kLowest, kHighest);
    trials_ = held_ = 0;
  } else {
    correction_ += kForgetting * (1 - correction_);
  }
  corrected_ = options_;
  for (DraftOption& option : corrected_) {
    option.acceptance = std::min(option.acceptance * correction_, 1.0);
  }
  const auto num_stages = costs.num_stages() - kExtraCosts;
  DraftSituation situation;
  situation.num_stages = num_stages;
  situation.num_rows = num_rows;
  situation.max_in_row = max_in_row_;
  situation.head_seconds = costs.Predict(num_stages + kHeadCost, num_rows);
  situation.check_seconds = costs.Predict(num_stages + kCheckCost, num_rows);
  choice_ = ChooseDrafting(corrected_, situation, costs);
  SetRule(rule);
}

void DraftTuner::SetRule(DraftRule* rule) const {
  rule->thresholds.assign(calibration_.exits.size(), 0.0f);
  rule->max_in_row = 0;
  if (choice_.option < 0) return;
  const auto option = static_cast<size_t>(choice_.option);
  rule->thresholds[exits_[option]] = options_[option].threshold;
  rule->max_in_row = choice_.max_in_row;
}

}  // namespace spade
