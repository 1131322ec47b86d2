#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/calibration.h"
#include "engine/exit/choose_exits.h"
#include "engine/exit/outcomes.h"
#include "tools/calibrate/fit_quality.h"
#include "tools/trace/layer_table.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/traces.h"

namespace spade {

struct CalibrateOptions {
  // Of several, each layer keeps the one that is nearest to full depth, on validation.
  std::vector<FitTarget> fit_to = {FitTarget::kSpade, FitTarget::kFull};
  std::optional<SpadePosition> position;  // nullopt: the better one
  int32_t min_exits = 4;
  int32_t max_exits = 8;
  std::vector<double> max_mismatches = {0.005, 0.01, 0.02, 0.05, 0.1};  // ascending
  double confidence = 0.95;
  double seconds_per_layer_row = 0;
  int32_t num_threads = 0;  // 0: one per core
};

// One watched layer's heads, beside the logit lens. Shares of validation prompts.
struct HeadRow {
  ExitHead head;  // of the fit that is kept
  double lens_matches_full = 0;
  double lens_matches_spade = 0;
  std::vector<FitQuality> fits;
};

struct CalibrateResult {
  // Without model, tokenizer and label texts, which the caller knows.
  Calibration calibration;
  LayerTable table;            // over the certification prompts
  std::vector<HeadRow> heads;  // one a watched layer
  ExitChoice choice;
  LayerCosts costs;
  int64_t fit_prompts = 0;
  int64_t validation_prompts = 0;
  int64_t certification_prompts = 0;
  double oracle_saving = 0;  // on the certification prompts, at the chosen exits
};

// Fits a head at every watched layer, chooses the exits, plans thresholds on the validation part
// and certifies them on the certification part. Certificates that close every exit are left out.
absl::StatusOr<CalibrateResult> Calibrate(const Traces& traces, const std::vector<Prompt>& prompts,
                                          const LayerCosts& costs, const CalibrateOptions& options);

}  // namespace spade
