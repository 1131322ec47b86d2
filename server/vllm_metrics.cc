#include "server/vllm_metrics.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace spade {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

struct Alias {
  std::string_view ours;
  std::string_view vllm;
  ClientMetric::Label more = {};  // a label that ours lacks; no name: none
};

const Alias kAliases[] = {
    {"spade_requests_running", "vllm:num_requests_running"},
    {"spade_requests_waiting", "vllm:num_requests_waiting"},
    {"spade_requests_waiting", "vllm:num_requests_waiting_by_reason", {"reason", "capacity"}},
    {"spade_kv_cache_usage_ratio", "vllm:kv_cache_usage_perc"},
    {"spade_cache_config_info", "vllm:cache_config_info"},
    {"spade_prompt_tokens_total", "vllm:prompt_tokens_total"},
    {"spade_prompt_tokens_cached_total", "vllm:prompt_tokens_cached_total"},
    {"spade_prompt_tokens_total", "vllm:prefix_cache_queries_total"},
    {"spade_prompt_tokens_cached_total", "vllm:prefix_cache_hits_total"},
    {"spade_generation_tokens_total", "vllm:generation_tokens_total"},
    {"spade_sequences_finished_total", "vllm:request_success_total"},
    {"spade_preemptions_total", "vllm:num_preemptions_total"},
    {"spade_draft_tokens_total", "vllm:spec_decode_num_draft_tokens_total"},
    {"spade_draft_tokens_accepted_total", "vllm:spec_decode_num_accepted_tokens_total"},
    {"spade_step_rows", "vllm:iteration_tokens_total"},
    {"spade_time_to_first_token_seconds", "vllm:time_to_first_token_seconds"},
    {"spade_inter_token_latency_seconds", "vllm:inter_token_latency_seconds"},
    {"spade_request_time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds"},
    {"spade_e2e_request_latency_seconds", "vllm:e2e_request_latency_seconds"},
    {"spade_request_queue_time_seconds", "vllm:request_queue_time_seconds"},
    {"spade_request_prefill_time_seconds", "vllm:request_prefill_time_seconds"},
    {"spade_request_decode_time_seconds", "vllm:request_decode_time_seconds"},
    {"spade_request_inference_time_seconds", "vllm:request_inference_time_seconds"},
    {"spade_request_prompt_tokens", "vllm:request_prompt_tokens"},
    {"spade_request_prefill_computed_tokens", "vllm:request_prefill_kv_computed_tokens"},
    {"spade_request_generation_tokens", "vllm:request_generation_tokens"},
    {"spade_request_max_num_generation_tokens", "vllm:request_max_num_generation_tokens"},
    {"spade_request_params_max_tokens", "vllm:request_params_max_tokens"},
    {"spade_request_params_n", "vllm:request_params_n"},
    // What dashboards and routers of 2025 and before ask for.
    {"spade_kv_cache_usage_ratio", "vllm:gpu_cache_usage_perc"},
    {"spade_inter_token_latency_seconds", "vllm:time_per_output_token_seconds"},
};

MetricFamily Renamed(MetricFamily family, const Alias& alias) {
  family.name = alias.vllm;
  for (ClientMetric& metric : family.metric) {
    metric.label.push_back({"engine", "0"});  // vLLM's data-parallel rank: there is one engine
    if (!alias.more.name.empty()) metric.label.push_back(alias.more);
  }
  return family;
}

}  // namespace

VllmMetrics::VllmMetrics(std::shared_ptr<const prometheus::Collectable> source)
    : source_(std::move(source)) {}

std::vector<MetricFamily> VllmMetrics::Collect() const {
  std::vector<MetricFamily> families = source_->Collect();
  const size_t num_ours = families.size();
  for (const Alias& alias : kAliases) {
    const auto end = families.begin() + static_cast<std::ptrdiff_t>(num_ours);
    const auto ours = std::find_if(families.begin(), end, [&](const MetricFamily& family) {
      return family.name == alias.ours;
    });
    if (ours != end) families.push_back(Renamed(*ours, alias));
  }
  return families;
}

}  // namespace spade
