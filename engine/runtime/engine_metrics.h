#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/runtime/request.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace spade {

enum class Rpc { kGenerate, kDecide };

struct StepSample {
  double seconds = 0;
  int32_t rows = 0;
  int32_t preemptions = 0;
  int32_t drawn_tokens = 0;
};

struct LoadSample {
  int32_t running = 0;
  int32_t waiting = 0;
  int32_t kv_blocks_in_use = 0;
};

// The engine's Prometheus metrics, all made at construction. Thread-safe.
class EngineMetrics {
 public:
  struct Options {
    std::string model_name;
    int32_t num_layers = 0;
    int32_t kv_blocks = 0;
  };
  // `registry` outlives this.
  EngineMetrics(prometheus::Registry* registry, const Options& options);

  void OnRefused(Rpc rpc, absl::StatusCode code);
  void OnEnded(Rpc rpc, absl::StatusCode code, double seconds);
  // A request's first sequence left the waiting ones.
  void OnScheduled(double queue_seconds, int32_t prompt_tokens, int32_t cached_tokens);
  void OnFirstToken(double seconds);
  void OnNextToken(double seconds);
  void OnDecision(ExitMode mode, DecisionKind kind, const Decision& decision);
  void OnStep(const StepSample& step);
  void OnLoad(const LoadSample& load);

 private:
  static constexpr int kNumCodes = 17;  // gRPC's status codes

  void MakeRequestMetrics(prometheus::Registry* registry, const Options& options);
  void MakeStepMetrics(prometheus::Registry* registry, const Options& options);
  void MakeDecisionMetrics(prometheus::Registry* registry, const Options& options);

  const int32_t num_layers_;
  const int32_t kv_blocks_;
  std::array<std::array<prometheus::Counter*, kNumCodes>, 2> requests_{};
  prometheus::Counter* prompt_tokens_ = nullptr;
  prometheus::Counter* cached_tokens_ = nullptr;
  prometheus::Counter* generation_tokens_ = nullptr;
  prometheus::Counter* preemptions_ = nullptr;
  prometheus::Gauge* running_ = nullptr;
  prometheus::Gauge* waiting_ = nullptr;
  prometheus::Gauge* kv_usage_ = nullptr;
  prometheus::Histogram* first_token_ = nullptr;
  prometheus::Histogram* next_token_ = nullptr;
  prometheus::Histogram* request_seconds_ = nullptr;
  prometheus::Histogram* queue_seconds_ = nullptr;
  prometheus::Histogram* step_seconds_ = nullptr;
  prometheus::Histogram* step_rows_ = nullptr;
  std::array<prometheus::Counter*, 3> decisions_{};
  prometheus::Histogram* exit_layer_ = nullptr;
  prometheus::Histogram* exit_entropy_ = nullptr;
  prometheus::Counter* layer_rows_ = nullptr;
  prometheus::Counter* layer_rows_saved_ = nullptr;
  prometheus::Counter* flops_saved_ = nullptr;
};

}  // namespace spade
