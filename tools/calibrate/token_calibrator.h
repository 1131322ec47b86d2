#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/choose_exits.h"
#include "engine/exit/outcomes.h"
#include "engine/exit/token_calibration.h"
#include "tools/calibrate/fit_quality.h"
#include "tools/trace/loaded_model.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/token_traces.h"

namespace spade {

struct TokenCalibrateOptions {
  // Of several, each layer keeps the one that is nearest to full depth, on validation.
  std::vector<FitTarget> fit_to = {FitTarget::kSpade, FitTarget::kFull};
  int32_t rank = 0;               // 0: a third of the hidden size, 16 to 256
  int32_t max_candidates = 1024;  // the vocabulary that early tokens come from
  double coverage = 0.99;         // of the tokens drawn: fewer candidates where they suffice
  int32_t min_exits = 1;
  int32_t max_exits = 8;                                           // that for drafts included
  std::vector<double> max_mismatches = {0.005, 0.01, 0.02, 0.05};  // ascending
  double confidence = 0.95;
  int32_t num_threads = 0;  // 0: one per core
};

// One watched layer, on validation rows: shares of tokens that agree.
struct TokenRow {
  int32_t layer = 0;
  double lens_full = 0;   // the logit lens' (of the candidates) with full depth's
  double spade_full = 0;  // the SPADE pass' with full depth's
  std::vector<FitQuality> fits;
};

struct TokenCalibrateResult {
  // Without model and tokenizer, which the caller knows.
  TokenCalibration calibration;
  std::vector<TokenRow> table;
  ExitChoice choice;        // but for drafts
  int32_t draft_layer = 0;  // after which drafting gains most
  LayerCosts costs;
  double coverage = 0;  // of the tokens drawn, by the candidates
  int64_t fit_rows = 0;
  int64_t validation_rows = 0;
  int64_t certification_rows = 0;
  double oracle_saving = 0;  // on the certification rows, at the chosen exits
};

// Chooses the candidates, fits L-SPADE at every watched layer, chooses the exits, plans thresholds
// on the validation prompts and certifies them on the certification prompts, of each of which one
// row is used: rows of one text are not independent.
absl::StatusOr<TokenCalibrateResult> CalibrateTokens(const ModelFolder& folder, Backend& backend,
                                                     DType weight_dtype, const TokenTraces& traces,
                                                     const std::vector<Prompt>& prompts,
                                                     const TokenCalibrateOptions& options);

}  // namespace spade
