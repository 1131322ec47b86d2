#include "engine/runtime/exit_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/runtime/metric_maker.h"

namespace spade {
namespace {

constexpr std::array<std::string_view, 3> kModeNames = {"EXACT", "VERIFIED", "FAST"};

}  // namespace

ExitMetrics::ExitMetrics(const MetricMaker* make, int32_t num_layers)
    : make_(*make), num_layers_(num_layers) {
  MakeModes();
  spade_passes_ =
      make_.Counter("spade_spade_passes_total", "SPADE passes: answers given from an exit on.");
  spade_batch_ = make_.Histogram("spade_spade_batch_rows", "SPADE passes that share a climb.",
                                 PowersOfTwo(11));
  parked_ = make_.Gauge("spade_parked_rows",
                        "Rows that left at an exit, or are held there, and may go deeper later.");
  deferred_ = make_.Counter("spade_deferred_rows_total", "Parked rows that went deeper.");
  held_ = make_.Counter("spade_held_rows_total",
                        "Generated rows that waited at an exit for others to go deeper with.");
  drafted_ = make_.Counter("spade_draft_tokens_total", "Early tokens of mode VERIFIED: drafts.");
  accepted_ =
      make_.Counter("spade_draft_tokens_accepted_total", "Drafts that were full depth's token.");
  shadow_saved_ = make_.Counter("spade_shadow_layer_rows_saved_total",
                                "Layer-rows that shadow-checked requests saved.");
  shadow_oracle_ = make_.Counter(
      "spade_oracle_layer_rows_saved_total",
      "Layer-rows that shadow-checked requests would have saved by leaving at the first exit from "
      "which on every answer is full depth's.");
  shadow_full_ = make_.Counter("spade_shadow_layer_rows_full_total",
                               "Layer-rows of shadow-checked requests at full depth.");
}

void ExitMetrics::MakeModes() {
  for (size_t i = 0; i < modes_.size(); ++i) {
    const std::string mode(kModeNames[i]);
    const auto layers = [&](const char* kind) {
      return make_.Histogram("spade_exit_layer",
                             "Layers that a decision's prompt rows ran, early answers included, or "
                             "that a token's row had run when it was given out.",
                             OnePerLayer(num_layers_), {{"kind", kind}, {"mode", mode}});
    };
    PerMode& made = modes_[i];
    made.decisions =
        make_.Counter("spade_decisions_total", "Final answers of decisions.", {{"mode", mode}});
    made.decision_layer = layers("decision");
    made.token_layer = layers("token");
    made.layer_rows = make_.Counter("spade_layer_rows_full_total",
                                    "Row-layers of full depth: of decisions' prompts and of "
                                    "generated tokens, run or saved.",
                                    {{"mode", mode}});
    made.layer_rows_saved = make_.Counter(
        "spade_layer_rows_saved_total", "Of those row-layers, what did not run.", {{"mode", mode}});
    made.flops_saved =
        make_.Counter("spade_flops_saved_total",
                      "Floating-point operations of the row-layers saved.", {{"mode", mode}});
    made.seconds_saved = make_.Counter("spade_wall_seconds_saved_total",
                                       "Seconds of steps saved, by the measured costs of the "
                                       "stages; what was deferred is charged when it runs.",
                                       {{"mode", mode}});
  }
}

void ExitMetrics::ObserveEntropy(int32_t layer, float entropy) {
  prometheus::Histogram*& histogram = entropy_[layer];
  if (histogram == nullptr) {
    histogram =
        make_.Histogram("spade_exit_entropy", "Entropy (nats) of L-SPADE at the exit taken.",
                        {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5},
                        {{"layer", absl::StrCat(layer)}});
  }
  histogram->Observe(entropy);
}

void ExitMetrics::OnDecision(ExitMode mode, DecisionKind kind, const Decision& decision) {
  PerMode& metrics = At(mode);
  metrics.decision_layer->Observe(decision.exit_layer);
  if (decision.exit_layer < num_layers_) ObserveEntropy(decision.exit_layer, decision.entropy);
  if (kind == DecisionKind::kEarly) return;  // the full-depth answer follows: nothing is saved
  metrics.decisions->Increment();
  metrics.layer_rows->Increment(decision.layer_rows_full);
  metrics.layer_rows_saved->Increment(decision.layer_rows_saved);
  metrics.flops_saved->Increment(decision.flops_saved);
}

void ExitMetrics::OnToken(ExitMode mode, int32_t exit_layer, float entropy) {
  At(mode).token_layer->Observe(exit_layer);
  At(mode).layer_rows->Increment(num_layers_);
  if (exit_layer < num_layers_) ObserveEntropy(exit_layer, entropy);
}

void ExitMetrics::OnRowsDropped(ExitMode mode, double layer_rows, double flops_per_layer_row) {
  At(mode).layer_rows_saved->Increment(layer_rows);
  At(mode).flops_saved->Increment(layer_rows * flops_per_layer_row);
}

void ExitMetrics::OnDrafts(int32_t drafted, int32_t accepted) {
  drafted_->Increment(drafted);
  accepted_->Increment(accepted);
}

void ExitMetrics::OnClimb(const ClimbSample& climb) {
  if (climb.spade_rows > 0) {
    spade_passes_->Increment(climb.spade_rows);
    spade_batch_->Observe(climb.spade_rows);
  }
  if (climb.deferred_rows > 0) deferred_->Increment(climb.deferred_rows);
  if (climb.held_rows > 0) held_->Increment(climb.held_rows);
  parked_->Set(climb.parked_rows);
  for (size_t mode = 0; mode < modes_.size(); ++mode) {
    PerMode& metrics = modes_[mode];
    metrics.seconds_balance += climb.seconds_saved[mode];
    if (metrics.seconds_balance <= 0) continue;
    metrics.seconds_saved->Increment(metrics.seconds_balance);
    metrics.seconds_balance = 0;
  }
}

ExitMetrics::PerExit& ExitMetrics::ExitAt(int32_t layer, double limit) {
  PerExit& exit = exits_[{layer, limit}];
  if (exit.agreed != nullptr) return exit;
  const prometheus::Labels labels = {{"layer", absl::StrCat(layer)},
                                     {"max_mismatch", absl::StrCat(limit)}};
  const auto checks = [&](const char* agreed) {
    prometheus::Labels more = labels;
    more["agreed"] = agreed;
    return make_.Counter("spade_shadow_checks_total",
                         "Early answers completed to full depth, by whether it agreed.", more);
  };
  exit.agreed = checks("true");
  exit.differed = checks("false");
  exit.lower = make_.Gauge("spade_shadow_mismatch_lower",
                           "Lower bound of the mismatch, at 95 % for all times at once; begins "
                           "anew when the exit is tightened.",
                           labels);
  exit.upper = make_.Gauge("spade_shadow_mismatch_upper", "Upper bound of the same.", labels);
  exit.breaches = make_.Counter("spade_shadow_breaches_total",
                                "Times the mismatch was shown to exceed what was certified: the "
                                "exit was tightened, then closed.",
                                labels);
  exit.disabled =
      make_.Gauge("spade_exits_disabled", "1: the shadow check closed the exit.", labels);
  make_.Gauge("spade_shadow_mismatch_limit", "The mismatch that was certified.", labels)
      ->Set(limit);
  return exit;
}

void ExitMetrics::OnShadow(const ShadowSample& shadow) {
  PerExit& exit = ExitAt(shadow.layer, shadow.limit);
  (shadow.agreed ? exit.agreed : exit.differed)->Increment();
  exit.lower->Set(shadow.lower);
  exit.upper->Set(shadow.upper);
  if (shadow.breached) exit.breaches->Increment();
  exit.disabled->Set(shadow.disabled ? 1 : 0);
}

void ExitMetrics::OnShadowCompute(const ShadowCompute& compute) {
  shadow_saved_->Increment(compute.saved);
  shadow_oracle_->Increment(compute.oracle);
  shadow_full_->Increment(compute.full);
}

}  // namespace spade
