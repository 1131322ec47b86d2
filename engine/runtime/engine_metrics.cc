#include "engine/runtime/engine_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

namespace spade {
EngineMetrics::EngineMetrics(prometheus::Registry* registry, const Options& options)
    : make_(registry, options.model_name),
      kv_blocks_(options.kv_blocks),
      exits_(&make_, options.num_layers) {
  MakeRequestCounters(make_);
  MakeRequestHistograms(make_, options.max_context);
  MakeStepMetrics(make_, options);
}

void EngineMetrics::MakeStepMetrics(const MetricMaker& make, const Options& options) {
  running_ = make.Gauge("spade_requests_running", "Requests that were scheduled and are not over.");
  waiting_ = make.Gauge("spade_requests_waiting", "Requests that wait to be scheduled.");
  make.Gauge("spade_requests_waiting_limit", "Requests that may wait; more are refused.")
      ->Set(options.max_queued_requests);
  kv_usage_ = make.Gauge("spade_kv_cache_usage_ratio", "Share of the KV blocks that are in use.");
  make.Gauge("spade_kv_blocks", "KV blocks.")->Set(options.kv_blocks);
  make.Gauge("spade_cache_config_info", "How the KV cache is set up; always 1.",
             {{"block_size", std::to_string(options.block_size)},
              {"num_gpu_blocks", std::to_string(options.kv_blocks)},
              {"enable_prefix_caching", options.prefix_cache ? "True" : "False"}})
      ->Set(1);
  preemptions_ = make.Counter("spade_preemptions_total",
                              "Sequences that gave up their KV blocks, to be recomputed.");
  step_seconds_ =
      make.Histogram("spade_step_duration_seconds", "One step of the engine.", Decades(1e-4, 10));
  step_rows_ = make.Histogram("spade_step_rows", "Rows (tokens) of one step.", PowersOfTwo(15));
  generation_tokens_ = make.Counter("spade_generation_tokens_total", "Tokens drawn.");
}

void EngineMetrics::OnDecided(const Decision& decision) {
  FinishedBy(Finished::kStop).Increment();
  ObserveTimings(decision.timings);
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
