#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/exit/token_calibration.h"
#include "engine/runtime/exit_rules.h"
#include "engine/schedule/draft_policy.h"
#include "engine/schedule/stage_costs.h"

namespace spade {

// Chooses how VERIFIED sequences draft: by what the calibration promises of each exit, corrected by
// the drafts that full depth accepted, and by the measured costs. Owned by the loop.
class DraftTuner {
 public:
  // `boundaries`: of the calibration's exits, in order. `calibration` outlives this.
  DraftTuner(const TokenCalibration* calibration, std::vector<int32_t> boundaries,
             int32_t max_in_row);

  // A run of drafts was verified: `accepted` held, and the one after them did not, if `failed`.
  void Observe(int32_t accepted, bool failed);
  // A step ran `num_rows` VERIFIED rows. Sets the rule from now on, where a new choice is due.
  void OnStep(int64_t num_rows, const StageCosts& costs, DraftRule* rule);

  // Predicted gain of the rule in force.
  double speedup() const { return choice_.speedup; }

 private:
  void SetRule(DraftRule* rule) const;

  const TokenCalibration& calibration_;
  const std::vector<int32_t> boundaries_;
  const int32_t max_in_row_;
  std::vector<DraftOption> options_;    // as the calibration promises
  std::vector<size_t> exits_;           // of each option
  std::vector<DraftOption> corrected_;  // scratch
  DraftChoice choice_;
  double correction_ = 1;  // measured acceptance over promised
  double trials_ = 0;      // since the last choice
  double held_ = 0;        // of those
  int32_t steps_ = 0;      // until the next choice
};

}  // namespace spade
