#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "tools/trace/prompt_file.h"
#include "tools/trace/traces.h"

namespace spade {

// Shares of prompts: with the true label (0 where none is known), and with full depth's label.
struct Quality {
  double accuracy = 0;
  double agreement = 0;
};

// How well each way of reading the model after `layer` layers does.
struct LayerRow {
  int32_t layer = 0;
  Quality lens;                                   // logit lens: final norm and head
  Quality kept;                                   // SPADE pass, the answer row at its own position
  Quality reset;                                  // SPADE pass, the answer row at position 1
  std::optional<Quality> l_spade = std::nullopt;  // where there is a head for the layer

  // In the order of reports: lens, L-SPADE, SPADE kept, SPADE reset.
  std::array<std::optional<Quality>, 4> All() const { return {lens, l_spade, kept, reset}; }
};

struct LayerTable {
  int64_t prompts = 0;
  bool has_labels = false;
  double full_accuracy = 0;
  std::vector<LayerRow> rows;  // ascending layers
};

// Over the prompts that `included` takes.
LayerTable MakeLayerTable(const Traces& traces, const std::vector<Prompt>& prompts,
                          const std::function<bool(const Prompt&)>& included);

// What L-SPADE's most probable labels at the head's layer are worth, over all prompts.
Quality QualityOf(const ExitHead& head, const Traces& traces, const std::vector<Prompt>& prompts);

// The position whose SPADE pass agrees with full depth more often over the deeper half of the
// watched layers, where exits lie.
SpadePosition BetterPosition(const LayerTable& table);

}  // namespace spade
