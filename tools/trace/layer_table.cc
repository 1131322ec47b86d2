#include "tools/trace/layer_table.h"

#include "engine/sampling/vocab_scan.h"

namespace spade {
namespace {

void Count(int32_t answer, int32_t truth, int32_t full, Quality& quality) {
  quality.accuracy += answer == truth;
  quality.agreement += answer == full;
}

void Divide(double count, Quality& quality) {
  quality.accuracy /= count;
  quality.agreement /= count;
}

}  // namespace

LayerTable MakeLayerTable(const Traces& traces, const std::vector<Prompt>& prompts,
                          const std::function<bool(const Prompt&)>& included) {
  LayerTable table;
  const TraceShape& shape = traces.shape;
  for (int32_t exit = 0; exit < shape.exits(); ++exit) {
    table.rows.push_back(LayerRow{shape.first_layer + exit, {}, {}, {}});
  }
  for (size_t p = 0; p < traces.prompts(); ++p) {
    if (!included(prompts[p])) continue;
    const int32_t full = ArgMax(traces.Full(p));
    const int32_t truth = prompts[p].label;
    table.prompts += 1;
    table.has_labels |= truth >= 0;
    table.full_accuracy += full == truth;
    for (int32_t exit = 0; exit < shape.exits(); ++exit) {
      LayerRow& row = table.rows[static_cast<size_t>(exit)];
      Count(ArgMax(traces.Lens(p, exit)), truth, full, row.lens);
      Count(ArgMax(traces.Spade(p, exit, SpadePosition::kKept)), truth, full, row.kept);
      Count(ArgMax(traces.Spade(p, exit, SpadePosition::kReset)), truth, full, row.reset);
    }
  }
  if (table.prompts == 0) return table;
  const auto count = static_cast<double>(table.prompts);
  table.full_accuracy /= count;
  for (LayerRow& row : table.rows) {
    for (Quality* quality : {&row.lens, &row.kept, &row.reset}) Divide(count, *quality);
  }
  return table;
}

Quality QualityOf(const ExitHead& head, const Traces& traces, const std::vector<Prompt>& prompts) {
  Quality quality;
  std::vector<float> probabilities(static_cast<size_t>(traces.shape.labels));
  for (size_t p = 0; p < traces.prompts(); ++p) {
    head.Entropy(traces.Hidden(p, head.layer - traces.shape.first_layer), probabilities);
    Count(ArgMax(probabilities), prompts[p].label, ArgMax(traces.Full(p)), quality);
  }
  if (traces.prompts() > 0) Divide(static_cast<double>(traces.prompts()), quality);
  return quality;
}

SpadePosition BetterPosition(const LayerTable& table) {
  double kept = 0;
  double reset = 0;
  for (size_t i = table.rows.size() / 2; i < table.rows.size(); ++i) {
    kept += table.rows[i].kept.agreement;
    reset += table.rows[i].reset.agreement;
  }
  return reset > kept ? SpadePosition::kReset : SpadePosition::kKept;
}

}  // namespace spade
