#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/runtime/exit_metrics.h"
#include "engine/runtime/metric_maker.h"
#include "engine/runtime/request_state.h"

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

// The engine's Prometheus metrics, all made at construction. Thread-safe. Where vLLM has a metric
// of the same meaning, boundaries and label values are vLLM's, so that the server can show both
// names.
class EngineMetrics {
 public:
  struct Options {
    std::string model_name;
    int32_t num_layers = 0;
    int32_t max_context = 0;
    int32_t max_queued_requests = 0;
    int32_t kv_blocks = 0;
    int32_t block_size = 0;
    bool prefix_cache = false;
  };
  // `registry` outlives this.
  EngineMetrics(prometheus::Registry* registry, const Options& options);

  void OnRefused(Rpc rpc, absl::StatusCode code);
  // A request that was accepted is over, however it ended.
  void OnEnded(const RequestState& request, absl::StatusCode code, Clock::time_point now);
  // A request's first sequence left the waiting ones.
  void OnScheduled(const RequestState& request, int32_t cached_tokens, Clock::time_point now);
  // From the request's arrival to a sequence's first token, or to a decision's first answer.
  void OnFirstToken(double seconds);
  // `count` tokens came together, `seconds` after the one before them.
  void OnNextTokens(double seconds, int32_t count);
  // A continuation came to its end.
  void OnFinished(const SequenceFinish& finish);
  // A decision's final answer.
  void OnDecided(const Decision& decision);
  ExitMetrics& exits() { return exits_; }
  void OnStep(const StepSample& step);
  void OnLoad(const LoadSample& load);

 private:
  static constexpr int kNumCodes = 17;  // gRPC's status codes

  // vLLM's finished_reason.
  enum class Finished { kStop, kLength, kAbort, kError };
  static constexpr int kNumFinished = 4;

  void MakeRequestCounters(const MetricMaker& make);
  void MakeRequestHistograms(const MetricMaker& make, int32_t max_context);
  void MakeStepMetrics(const MetricMaker& make, const Options& options);
  prometheus::Counter& FinishedBy(Finished reason) {
    return *finished_[static_cast<size_t>(reason)];
  }
  void ObserveTimings(const Timings& timings);

  const MetricMaker make_;
  const int32_t kv_blocks_;
  ExitMetrics exits_;
  std::array<std::array<prometheus::Counter*, kNumCodes>, 2> requests_{};
  std::array<prometheus::Counter*, kNumFinished> finished_{};
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
  prometheus::Histogram* prefill_seconds_ = nullptr;
  prometheus::Histogram* decode_seconds_ = nullptr;
  prometheus::Histogram* inference_seconds_ = nullptr;
  prometheus::Histogram* token_seconds_ = nullptr;
  prometheus::Histogram* prompt_lengths_ = nullptr;
  prometheus::Histogram* computed_lengths_ = nullptr;
  prometheus::Histogram* output_lengths_ = nullptr;
  prometheus::Histogram* longest_output_ = nullptr;
  prometheus::Histogram* max_tokens_ = nullptr;
  prometheus::Histogram* num_sequences_ = nullptr;
  prometheus::Histogram* step_seconds_ = nullptr;
  prometheus::Histogram* step_rows_ = nullptr;
};

}  // namespace spade
