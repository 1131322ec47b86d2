#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/calibration.h"
#include "engine/exit/outcomes.h"
#include "tools/trace/layer_table.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/traces.h"

namespace spade {

// What one certificate does on the evaluation prompts.
struct CertificateOutcome {
  Certificate certificate;
  ExitReplay replay;
  double accuracy = 0;  // of all prompts, those that never left included
  double mismatch = 0;  // of all prompts
  double predicted_saving() const { return replay.NetSaving(); }
};

// Wall clock of climbs over the same prompts, median of repeats.
struct WallClock {
  int32_t batch = 0;
  double max_mismatch = 0;  // of the certificate; 0: of the sweep
  double mismatch = 0;      // of all evaluation prompts
  double full_seconds = 0;  // a prompt
  double exit_seconds = 0;  // a prompt
};

// The same prompts at full depth with other types of weights or products.
struct Baseline {
  std::string types;     // "bf16 weights, f32 products"
  double accuracy = 0;   // its own
  double agreement = 0;  // share of prompts that it answers like the model evaluated
};

struct Evaluation {
  std::string model;
  std::string data;
  LayerTable table;
  SpadePosition position = SpadePosition::kKept;
  double mean_rows = 0;
  double oracle_saving_any_layer = 0;  // a perfect gate, an exit after every watched layer
  std::optional<Baseline> baseline;
  // The rest only with a calibration.
  std::string calibration_id;
  std::vector<int32_t> exit_layers;
  double oracle_saving = 0;  // a perfect gate at the calibration's exits
  std::vector<CertificateOutcome> certificates;
  std::vector<TradePoint> curve;
  // One entropy threshold at every exit, from a few prompts leaving to all.
  std::vector<CertificateOutcome> sweep;
  std::vector<WallClock> wall_clock;
  std::vector<WallClock> sweep_clock;  // by batch, then as `sweep`
};

// `calibration` may be null. `costs` has the check's cost filled in where there is one.
Evaluation Evaluate(const Traces& traces, const std::vector<Prompt>& prompts,
                    const Calibration* calibration, const LayerCosts& costs);

// `types` names those of `baseline`, traces of the same prompts.
Baseline CompareWith(const Traces& baseline, std::string types, const Traces& traces,
                     const std::vector<Prompt>& prompts);

}  // namespace spade
