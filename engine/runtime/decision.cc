#include "engine/runtime/decision.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/finite.h"
#include "engine/runtime/generation.h"

namespace spade {
namespace {

// softmax(logits / temperature), in place.
void Softmax(std::span<float> logits, float temperature) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float& value : logits) {
    value = std::exp((value - highest) / temperature);
    sum += value;
  }
  for (float& value : logits) value = static_cast<float>(value / sum);
}

float EntropyOf(std::span<const float> probabilities) {
  double entropy = 0;
  for (const float p : probabilities) {
    if (p > 0) entropy -= double{p} * std::log(double{p});
  }
  return static_cast<float>(entropy);
}

}  // namespace

void SetAnswer(const DecideRequest& request, std::span<const float> logits, Decision* decision) {
  std::vector<float>& probabilities = decision->probabilities;
  probabilities.assign(logits.begin(), logits.end());
  for (size_t i = 0; i < request.label_bias.size(); ++i) probabilities[i] += request.label_bias[i];
  const auto best = std::ranges::max_element(probabilities);
  decision->label = static_cast<int32_t>(best - probabilities.begin());
  Softmax(probabilities, request.temperature);
  decision->entropy = EntropyOf(probabilities);
}

DecisionState::DecisionState(DecideRequest request, std::shared_ptr<DecideSink> sink,
                             ExitPermit permit)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      permit_(permit),
      label_logits_(request_.labels.size()),
      probabilities_(may_exit() ? request_.labels.size() : 0) {}

void DecisionState::ProbeExits() {
  probes_ = true;
  probe_logits_.resize(permit_.calibration->exits.size() * label_logits_.size());
}

bool DecisionState::TryExit(int32_t layer, std::span<const float> hidden,
                            const ExitGuards& guards) {
  if (!may_exit() || exit_) return false;
  const std::vector<ExitHead>& exits = permit_.calibration->exits;
  for (size_t i = 0; i < exits.size(); ++i) {
    const float threshold =
        permit_.certificate->thresholds[i] * guards.Openness(permit_.certificate, i);
    if (exits[i].layer != layer || threshold <= 0) continue;
    const float entropy = exits[i].Entropy(hidden, probabilities_);
    if (entropy < threshold) exit_ = ExitTaken{i, layer, entropy, threshold};
    return exit_.has_value();
  }
  return false;
}

int32_t DecisionState::spade_position(int32_t own_position) const {
  return permit_.calibration->position == SpadePosition::kReset ? 1 : own_position;
}

bool DecisionState::HasAnswer() const { return AllFinite(label_logits_); }

Decision DecisionState::Answer(const std::optional<ExitTaken>& exit, const ModelConfig& config,
                               Clock::time_point now) const {
  Decision decision;
  SetAnswer(request_, label_logits_, &decision);
  decision.exit_layer = exit ? exit->layer : config.num_layers;
  if (exit) decision.entropy = exit->entropy;
  decision.threshold = exit ? exit->threshold : 0.0f;
  if (may_exit()) decision.certificate_id = permit_.calibration->id;
  CountRows(exit, config, &decision);

  decision.usage.prompt_tokens = static_cast<int32_t>(request_.context.prompt.size());
  decision.usage.cached_tokens = cached_rows_;
  const Clock::time_point scheduled = first_scheduled_.value_or(now);
  decision.timings.queue_s = SecondsBetween(request_.context.arrival, scheduled);
  decision.timings.prefill_s = SecondsBetween(scheduled, now);
  return decision;
}

// The full-depth pass runs all rows up to the last layer, and one row through it: that is what
// EXACT costs. After an exit one row runs the rest.
void DecisionState::CountRows(const std::optional<ExitTaken>& exit, const ModelConfig& config,
                              Decision* decision) const {
  const double rows = request_.context.prompt.size() - static_cast<double>(cached_rows_);
  decision->layer_rows_full = rows * (config.num_layers - 1) + 1;
  if (!exit) return;
  decision->layer_rows_saved =
      (climbing_rows_ - 1) * static_cast<double>(config.num_layers - 1 - exit->layer);
  decision->flops_saved =
      2.0 * static_cast<double>(config.layer_parameters()) * decision->layer_rows_saved;
}

}  // namespace spade
