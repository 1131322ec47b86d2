#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/outcomes.h"
#include "engine/exit/token_calibration.h"
#include "engine/exit/token_fit.h"
#include "tools/trace/loaded_model.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/token_traces.h"

namespace spade {

struct TokenCalibrateOptions {
  int32_t rank = 0;               // 0: a third of the hidden size, 16 to 256
  int32_t max_candidates = 1024;  // the vocabulary that early tokens come from
  double coverage = 0.99;         // of the tokens drawn: fewer candidates where they suffice
  int32_t max_exits = 4;
  std::vector<double> max_mismatches = {0.005, 0.01, 0.02, 0.05};  // ascending
  double confidence = 0.95;
  int32_t num_threads = 0;  // 0: one per core
};

// One watched layer.
struct TokenRow {
  int32_t layer = 0;
  double lens_agreement = 0;  // the logit lens' token is full depth's, of validation rows
  double agreement = 0;       // L-SPADE's is
  double kl = 0;              // full depth from L-SPADE, nats
};

struct TokenCalibrateResult {
  // Without model and tokenizer, which the caller knows.
  TokenCalibration calibration;
  std::vector<TokenRow> table;
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
