#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"

namespace spade::testing {

// A Llama forward pass in double precision with no cache, no backend and no batch: each layer is
// computed for a whole (short) sequence at once, as the definition says. Slow; for checking the
// SPADE pass, which is this over two rows. Needs a model without biases and q/k norms.
class DoubleModel {
 public:
  using Rows = std::vector<std::vector<double>>;  // (rows, hidden)

  DoubleModel(const ModelConfig& config, const Checkpoint& checkpoint);

  Rows Embed(std::span<const TokenId> ids) const;
  // Layers [first, last) over one sequence: row i sees rows 0..i and has RoPE position
  // positions[i].
  Rows RunLayers(Rows rows, std::span<const int32_t> positions, int32_t first, int32_t last) const;
  std::vector<double> Logits(const std::vector<double>& row) const;

 private:
  const std::vector<double>& Weight(int32_t layer, const std::string& name) const;
  Rows Attend(const Rows& normed, std::span<const int32_t> positions, int32_t layer) const;
  void Rotate(std::vector<double>& heads, int32_t position) const;

  ModelConfig config_;
  std::map<std::string, std::vector<double>> weights_;
};

}  // namespace spade::testing
