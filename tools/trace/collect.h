#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "tools/trace/loaded_model.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/traces.h"

namespace spade {

struct CollectOptions {
  LoadOptions load;
  int32_t first_layer = 1;   // exits are watched from here on
  std::string partial_path;  // where unfinished traces are kept; empty: nowhere
};

struct Collected {
  Traces traces;                     // in the order of the prompts
  double seconds_per_layer_row = 0;  // 0 where every trace came from the file
};

// Runs every prompt through every layer, showing progress. An interrupted run goes on from
// `partial_path` if model, data, labels and options are the same.
absl::StatusOr<Collected> CollectTraces(const ModelFolder& folder, const PromptSet& prompts,
                                        const CollectOptions& options);

}  // namespace spade
