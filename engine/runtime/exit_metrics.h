#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "engine/runtime/request.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace spade {

class MetricMaker;

// What one climb did beyond running its planned rows.
struct ClimbSample {
  int32_t spade_rows = 0;     // SPADE passes finished
  int32_t deferred_rows = 0;  // parked rows taken deeper
  int32_t held_rows = 0;      // began to wait for others
  int32_t parked_rows = 0;    // waiting now
  // By mode, by the measured costs of the stages; rows taken deeper later count against it.
  std::array<double, 3> seconds_saved{};
};

// The outcome of a shadow check at one exit.
struct ShadowSample {
  int32_t layer = 0;
  double limit = 0;  // the mismatch that was certified
  bool agreed = false;
  double lower = 0;  // confidence bounds of the mismatch, after this check
  double upper = 1;
  bool breached = false;  // this check showed that the limit does not hold
  bool disabled = false;  // the exit is closed
};

// The compute of one shadow-checked request: saved, saveable with hindsight, and in all.
struct ShadowCompute {
  double saved = 0;   // layer-rows
  double oracle = 0;  // had it left at the first exit from which on every answer is full depth's
  double full = 0;
};

// What early exit does: the Prometheus metrics of one engine, all made at construction but those of
// an exit's shadow checks, made at its first. Used by the loop's thread.
class ExitMetrics {
 public:
  // `make` is used while this lives.
  ExitMetrics(const MetricMaker* make, int32_t num_layers);

  void OnDecision(ExitMode mode, DecisionKind kind, const Decision& decision);
  // A token was given out; `exit_layer`: layers its row had run, `entropy` there (at an exit).
  void OnToken(ExitMode mode, int32_t exit_layer, float entropy);
  // Layer-rows of generated tokens that will never run.
  void OnRowsDropped(ExitMode mode, double layer_rows, double flops_per_layer_row);
  void OnDrafts(int32_t drafted, int32_t accepted);
  void OnClimb(const ClimbSample& climb);
  void OnShadow(const ShadowSample& shadow);
  void OnShadowCompute(const ShadowCompute& compute);

 private:
  struct PerMode {
    prometheus::Counter* decisions = nullptr;
    prometheus::Histogram* decision_layer = nullptr;
    prometheus::Histogram* token_layer = nullptr;
    prometheus::Counter* layer_rows = nullptr;
    prometheus::Counter* layer_rows_saved = nullptr;
    prometheus::Counter* flops_saved = nullptr;
    prometheus::Counter* seconds_saved = nullptr;
    double seconds_balance = 0;  // not yet counted: a counter never falls
  };
  struct PerExit {
    prometheus::Counter* agreed = nullptr;
    prometheus::Counter* differed = nullptr;
    prometheus::Gauge* lower = nullptr;
    prometheus::Gauge* upper = nullptr;
    prometheus::Counter* breaches = nullptr;
    prometheus::Gauge* disabled = nullptr;
  };

  void MakeModes();
  void ObserveEntropy(int32_t layer, float entropy);
  PerExit& ExitAt(int32_t layer, double limit);
  PerMode& At(ExitMode mode) { return modes_[static_cast<size_t>(mode)]; }

  const MetricMaker& make_;
  const int32_t num_layers_;
  std::array<PerMode, 3> modes_;
  std::map<int32_t, prometheus::Histogram*> entropy_;    // by layer
  std::map<std::pair<int32_t, double>, PerExit> exits_;  // by layer and limit
  prometheus::Counter* spade_passes_ = nullptr;
  prometheus::Histogram* spade_batch_ = nullptr;
  prometheus::Gauge* parked_ = nullptr;
  prometheus::Counter* deferred_ = nullptr;
  prometheus::Counter* held_ = nullptr;
  prometheus::Counter* drafted_ = nullptr;
  prometheus::Counter* accepted_ = nullptr;
  prometheus::Counter* shadow_saved_ = nullptr;
  prometheus::Counter* shadow_oracle_ = nullptr;
  prometheus::Counter* shadow_full_ = nullptr;
};

}  // namespace spade
