#include "tools/eval/exit_climb.h"

#include <algorithm>
#include <numeric>

#include "engine/sampling/vocab_scan.h"
#include "kernels/check.h"
#include "tools/trace/traces.h"

namespace spade {
namespace {

// Regroups the rows for prompts that leave at one exit; returns these prompts.
std::vector<int32_t> FindDeparture(LoadedModel& loaded, const RowBatch& batch, const ExitHead& head,
                                   float threshold, SpadePosition position,
                                   Regrouping& regrouping) {
  std::vector<int32_t> leaving_rows;
  std::vector<int32_t> leaving_prompts;
  regrouping.Begin(batch);
  const auto hidden_size = static_cast<size_t>(loaded.model().config().hidden_size);
  const float* hidden = loaded.backend().HostView(loaded.model().hidden());
  std::vector<float> probabilities(head.bias.size());
  const auto rows = static_cast<int32_t>(batch.paged_rows());
  int32_t first = 0;  // of the current prompt's rows
  for (int32_t row = 0; row < rows; ++row) {
    const auto r = static_cast<size_t>(row);
    if (batch.wants_output[r] == 0) continue;
    const std::span<const float> state(hidden + r * hidden_size, hidden_size);
    if (head.Entropy(state, probabilities) < threshold) {
      leaving_rows.push_back(row);
      leaving_prompts.push_back(batch.sequences[r]);
    } else {
      for (int32_t kept = first; kept <= row; ++kept) regrouping.Stay(kept);
    }
    first = row + 1;
  }
  for (int32_t row = rows; row < batch.rows(); ++row) regrouping.Stay(row);
  for (const int32_t row : leaving_rows) {
    const int32_t own = batch.positions[static_cast<size_t>(row)];
    regrouping.BecomeSpade(row, position == SpadePosition::kKept ? own : 1);
  }
  return leaving_prompts;
}

}  // namespace

ClimbResult Climb(LoadedModel& loaded, std::span<const Prompt> prompts,
                  const Calibration& calibration, const Certificate* certificate) {
  StagedModel& model = loaded.model();
  SPADE_CHECK(model.num_stages() == static_cast<int32_t>(calibration.exits.size()) + 1);
  std::vector<const std::vector<TokenId>*> ids;
  for (const Prompt& prompt : prompts) ids.push_back(&prompt.ids);
  RowBatch batch = loaded.BatchOf(ids);
  ClimbResult result;
  result.answers.resize(prompts.size());
  result.exit_layers.assign(prompts.size(), model.config().num_layers);
  std::vector<int32_t> spade_prompts;  // of the SPADE rows, in order
  Regrouping regrouping;
  model.Begin(batch);
  for (int32_t stage = 0; stage < model.num_stages(); ++stage) {
    model.RunStage(stage, batch, loaded.kv().views());
    const auto exit = static_cast<size_t>(stage);
    if (certificate == nullptr || exit >= calibration.exits.size()) continue;
    if (certificate->thresholds[exit] <= 0 || batch.paged_rows() == 0) continue;
    const ExitHead& head = calibration.exits[exit];
    const std::vector<int32_t> leaving = FindDeparture(
        loaded, batch, head, certificate->thresholds[exit], calibration.position, regrouping);
    if (leaving.empty()) continue;
    model.Regroup(regrouping, batch, Tensor{});
    for (const int32_t prompt : leaving) {
      spade_prompts.push_back(prompt);
      result.exit_layers[static_cast<size_t>(prompt)] = head.layer;
    }
  }
  std::vector<int32_t> owners(batch.sequences.begin(), batch.sequences.end());
  owners.insert(owners.end(), spade_prompts.begin(), spade_prompts.end());
  SPADE_CHECK(owners.size() == prompts.size());
  std::vector<int32_t> rows(owners.size());
  std::iota(rows.begin(), rows.end(), 0);
  const size_t labels = calibration.label_ids.size();
  const float* logits = model.LogitsOf(rows, calibration.label_ids);
  for (size_t i = 0; i < owners.size(); ++i) {
    result.answers[static_cast<size_t>(owners[i])] = ArgMax(std::span(logits + i * labels, labels));
  }
  return result;
}

}  // namespace spade
