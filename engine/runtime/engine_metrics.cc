#include "engine/runtime/engine_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstddef>
#include <string_view>

namespace spade {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using Labels = prometheus::Labels;

constexpr std::array<std::string_view, 2> kRpcNames = {"Generate", "Decide"};
constexpr std::array<std::string_view, 3> kModeNames = {"EXACT", "VERIFIED", "FAST"};

// Makes the metrics of one engine: all carry its labels.
class Maker {
 public:
  Maker(prometheus::Registry* registry, const std::string& model_name)
      : registry_(*registry), labels_{{"model_name", model_name}} {}

  prometheus::Counter* Counter(const char* name, const char* help, Labels more = {}) const {
    more.insert(labels_.begin(), labels_.end());
    return &prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(more);
  }
  prometheus::Gauge* Gauge(const char* name, const char* help) const {
    return &prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels_);
  }
  prometheus::Histogram* Histogram(const char* name, const char* help,
                                   const Buckets& buckets) const {
    return &prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(labels_,
                                                                                       buckets);
  }

 private:
  prometheus::Registry& registry_;
  Labels labels_;
};

// 1, 2.5, 5 times powers of ten from `first` to `last`.
Buckets Decades(double first, double last) {
  Buckets buckets;
  for (double power = first; power <= last * 1.001; power *= 10) {
    for (const double step : {1.0, 2.5, 5.0}) {
      if (power * step <= last * 1.001) buckets.push_back(power * step);
    }
  }
  return buckets;
}

Buckets PowersOfTwo(int count) {
  Buckets buckets;
  for (int i = 0; i < count; ++i) buckets.push_back(static_cast<double>(1 << i));
  return buckets;
}

Buckets OnePerLayer(int32_t num_layers) {
  Buckets buckets;
  for (int32_t layer = 1; layer <= num_layers; ++layer) buckets.push_back(layer);
  return buckets;
}

}  // namespace

EngineMetrics::EngineMetrics(prometheus::Registry* registry, const Options& options)
    : num_layers_(options.num_layers), kv_blocks_(options.kv_blocks) {
  MakeRequestMetrics(registry, options);
  MakeStepMetrics(registry, options);
  MakeDecisionMetrics(registry, options);
}

void EngineMetrics::MakeRequestMetrics(prometheus::Registry* registry, const Options& options) {
  const Maker make(registry, options.model_name);
  for (size_t rpc = 0; rpc < kRpcNames.size(); ++rpc) {
    for (size_t code = 0; code < kNumCodes; ++code) {
      const std::string name = absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
      requests_[rpc][code] =
          make.Counter("spade_requests_total", "Requests that ended or were refused, by gRPC code.",
                       {{"rpc", std::string(kRpcNames[rpc])}, {"code", name}});
    }
  }
  running_ = make.Gauge("spade_requests_running", "Requests that were scheduled and are not over.");
  waiting_ = make.Gauge("spade_requests_waiting", "Requests that wait to be scheduled.");
  prompt_tokens_ = make.Counter("spade_prompt_tokens_total", "Prompt tokens of requests begun.");
  cached_tokens_ = make.Counter("spade_prompt_tokens_cached_total",
                                "Prompt tokens that came from the prefix cache.");
  generation_tokens_ = make.Counter("spade_generation_tokens_total", "Tokens drawn.");
  first_token_ =
      make.Histogram("spade_time_to_first_token_seconds",
                     "From a request's arrival to a sequence's first token.", Decades(1e-3, 100));
  next_token_ = make.Histogram("spade_inter_token_latency_seconds",
                               "Between two tokens of a sequence.", Decades(1e-4, 10));
  request_seconds_ = make.Histogram("spade_e2e_request_latency_seconds",
                                    "From a request's arrival to its end.", Decades(1e-3, 1000));
  queue_seconds_ =
      make.Histogram("spade_request_queue_time_seconds",
                     "From a request's arrival to its first schedule.", Decades(1e-4, 100));
}

void EngineMetrics::MakeStepMetrics(prometheus::Registry* registry, const Options& options) {
  const Maker make(registry, options.model_name);
  kv_usage_ = make.Gauge("spade_kv_cache_usage_ratio", "Share of the KV blocks that are in use.");
  make.Gauge("spade_kv_blocks", "KV blocks.")->Set(options.kv_blocks);
  preemptions_ = make.Counter("spade_preemptions_total",
                              "Sequences that gave up their KV blocks, to be recomputed.");
  step_seconds_ =
      make.Histogram("spade_step_duration_seconds", "One step of the engine.", Decades(1e-4, 10));
  step_rows_ = make.Histogram("spade_step_rows", "Rows (tokens) of one step.", PowersOfTwo(14));
}

void EngineMetrics::MakeDecisionMetrics(prometheus::Registry* registry, const Options& options) {
  const Maker make(registry, options.model_name);
  for (size_t mode = 0; mode < kModeNames.size(); ++mode) {
    decisions_[mode] = make.Counter("spade_decisions_total", "Final answers of decisions.",
                                    {{"mode", std::string(kModeNames[mode])}});
  }
  exit_layer_ =
      make.Histogram("spade_decision_exit_layer",
                     "Layers that the prompt rows of each answer ran, early answers included.",
                     OnePerLayer(options.num_layers));
  exit_entropy_ =
      make.Histogram("spade_exit_entropy", "Entropy (nats) of L-SPADE where a decision left early.",
                     {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2});
  layer_rows_ = make.Counter("spade_layer_rows_total",
                             "Row-layers of decisions' full-depth passes, run or saved.");
  layer_rows_saved_ =
      make.Counter("spade_layer_rows_saved_total", "Row-layers of decisions that did not run.");
  flops_saved_ = make.Counter("spade_flops_saved_total", "Operations of those row-layers.");
}

void EngineMetrics::OnRefused(Rpc rpc, absl::StatusCode code) {
  const auto index = static_cast<size_t>(code);
  if (index < kNumCodes) requests_[static_cast<size_t>(rpc)][index]->Increment();
}

void EngineMetrics::OnEnded(Rpc rpc, absl::StatusCode code, double seconds) {
  OnRefused(rpc, code);
  request_seconds_->Observe(seconds);
}

void EngineMetrics::OnScheduled(double queue_seconds, int32_t prompt_tokens,
                                int32_t cached_tokens) {
  queue_seconds_->Observe(queue_seconds);
  prompt_tokens_->Increment(prompt_tokens);
  if (cached_tokens > 0) cached_tokens_->Increment(cached_tokens);
}

void EngineMetrics::OnFirstToken(double seconds) { first_token_->Observe(seconds); }
void EngineMetrics::OnNextToken(double seconds) { next_token_->Observe(seconds); }

void EngineMetrics::OnDecision(ExitMode mode, DecisionKind kind, const Decision& decision) {
  if (decision.exit_layer < num_layers_) exit_entropy_->Observe(decision.entropy);
  exit_layer_->Observe(decision.exit_layer);
  if (kind == DecisionKind::kEarly) return;  // the full-depth answer follows: nothing is saved
  decisions_[static_cast<size_t>(mode)]->Increment();
  layer_rows_->Increment(decision.layer_rows_full);
  layer_rows_saved_->Increment(decision.layer_rows_saved);
  flops_saved_->Increment(decision.flops_saved);
}

void EngineMetrics::OnStep(const StepSample& step) {
  step_seconds_->Observe(step.seconds);
  step_rows_->Observe(step.rows);
  if (step.preemptions > 0) preemptions_->Increment(step.preemptions);
  if (step.drawn_tokens > 0) generation_tokens_->Increment(step.drawn_tokens);
}

void EngineMetrics::OnLoad(const LoadSample& load) {
  running_->Set(load.running);
  waiting_->Set(load.waiting);
  kv_usage_->Set(kv_blocks_ > 0 ? static_cast<double>(load.kv_blocks_in_use) / kv_blocks_ : 0.0);
}

}  // namespace spade
