#pragma once

#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/exit/outcomes.h"
#include "tools/trace/loaded_model.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/traces.h"

namespace spade {

// Runs prompts to full depth and writes down what early exit would have seen at every layer from
// `first_layer` on.
class Tracer {
 public:
  // `loaded` has an exit after each of the layers first_layer .. num_layers - 1, and outlives this.
  Tracer(LoadedModel& loaded, int32_t first_layer, std::vector<TokenId> label_ids);

  const TraceShape& shape() const { return shape_; }

  // How many of `prompts`, from the first on, fit one batch: at least 1.
  size_t BatchSize(std::span<const Prompt> prompts) const;
  // Their records, (prompts, record_floats).
  std::vector<float> Trace(std::span<const Prompt> prompts);

  // Seconds one row took in one layer, over all batches so far.
  double seconds_per_layer_row() const;

 private:
  // One climb at full depth: writes all but the SPADE logits.
  void TraceFullDepth(std::span<const Prompt> prompts, std::span<float> records);
  // The SPADE passes of all exits in one climb: rows join as their layer is reached.
  void TraceSpade(std::span<const Prompt> prompts, std::span<float> records);
  float* ExitRecord(std::span<float> records, size_t prompt, int32_t exit) const;

  LoadedModel& loaded_;
  TraceShape shape_;
  std::vector<TokenId> label_ids_;
  double seconds_ = 0;
  double layer_rows_ = 0;
};

// The layers first_layer .. num_layers - 1.
std::vector<int32_t> WatchedLayers(int32_t first_layer, int32_t num_layers);

// Costs of the model's layers in layer-rows, without checks.
LayerCosts CostsOf(const ModelConfig& config);

}  // namespace spade
