#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "tools/calibrate/calibrator.h"
#include "tools/calibrate/token_calibrator.h"
#include "tools/trace/collect.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/token_tracer.h"

namespace spade {

// The command line of spade-calibrate, checked as far as that needs no model.
struct Arguments {
  PromptOptions prompts;
  CollectOptions collect;
  CalibrateOptions calibrate;
  TokenTraceOptions token_traces;
  TokenCalibrateOptions token_calibrate;
  bool generate = false;
  std::string labels;
  std::string position = "auto";
  std::optional<FitTarget> fit_to = std::nullopt;  // none: both
  std::string out;
  std::optional<int32_t> min_exits = std::nullopt;
  std::optional<int32_t> max_exits = std::nullopt;
  int32_t first_layer = 0;  // 0: a third of the model
  bool keep_traces = false;
};

// What was said of the fits and of the number of exits goes before the defaults of `options`.
template <typename Options>
void SetExits(const Arguments& arguments, Options& options) {
  if (arguments.fit_to) options.fit_to = {*arguments.fit_to};
  if (arguments.min_exits) options.min_exits = *arguments.min_exits;
  if (arguments.max_exits) options.max_exits = *arguments.max_exits;
}

// Calibrates decisions between labels.
absl::Status CalibrateLabels(Arguments arguments);
// Calibrates generation.
absl::Status CalibrateGeneration(Arguments arguments);

}  // namespace spade
