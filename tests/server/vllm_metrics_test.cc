#include "server/vllm_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/runtime/engine_metrics.h"

namespace spade {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;
using ::testing::IsSupersetOf;

// vLLM's boundaries, as its clients know them.
const std::vector<double> kFirstToken = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                         0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                         20,    40,    80,   160,  640,  2560};
const std::vector<double> kTokenGap = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                       0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
const std::vector<double> kRequestTime = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                          30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
const std::vector<double> kTokenCount = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000};
const std::vector<double> kIteration = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384};

std::map<std::string, MetricFamily> Collect() {
  const auto registry = std::make_shared<prometheus::Registry>();
  const EngineMetrics metrics(registry.get(), {.model_name = "tiny",
                                               .num_layers = 4,
                                               .max_context = 4096,
                                               .kv_blocks = 64,
                                               .block_size = 16,
                                               .prefix_cache = true});
  std::map<std::string, MetricFamily> families;
  for (MetricFamily& family : VllmMetrics(registry).Collect()) families[family.name] = family;
  return families;
}

std::map<std::string, std::string> LabelsOf(const prometheus::ClientMetric& metric) {
  std::map<std::string, std::string> labels;
  for (const auto& label : metric.label) labels[label.name] = label.value;
  return labels;
}

TEST(VllmMetricsTest, GaugesAndCountersHaveVllmsNamesAndLabels) {
  const auto families = Collect();
  for (const char* name : {"vllm:num_requests_running", "vllm:num_requests_waiting",
                           "vllm:num_requests_waiting_by_reason", "vllm:kv_cache_usage_perc",
                           "vllm:cache_config_info"}) {
    ASSERT_TRUE(families.contains(name)) << name;
    EXPECT_EQ(families.at(name).type, MetricType::Gauge) << name;
  }
  for (const char* name :
       {"vllm:prompt_tokens_total", "vllm:prompt_tokens_cached_total",
        "vllm:generation_tokens_total", "vllm:request_success_total", "vllm:num_preemptions_total",
        "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"}) {
    ASSERT_TRUE(families.contains(name)) << name;
    EXPECT_EQ(families.at(name).type, MetricType::Counter) << name;
  }
  for (const auto& [name, family] : families) {
    if (name.rfind("vllm:", 0) != 0) continue;
    for (const auto& metric : family.metric) {
      const auto labels = LabelsOf(metric);
      EXPECT_EQ(labels.at("model_name"), "tiny") << name;
      EXPECT_EQ(labels.at("engine"), "0") << name;
    }
  }
}

TEST(VllmMetricsTest, HistogramsHaveVllmsBoundaries) {
  const std::map<std::string, std::vector<double>> expected = {
      {"time_to_first_token_seconds", kFirstToken},
      {"inter_token_latency_seconds", kTokenGap},
      {"request_time_per_output_token_seconds", kTokenGap},
      {"e2e_request_latency_seconds", kRequestTime},
      {"request_queue_time_seconds", kRequestTime},
      {"request_inference_time_seconds", kRequestTime},
      {"request_prefill_time_seconds", kRequestTime},
      {"request_decode_time_seconds", kRequestTime},
      {"request_prompt_tokens", kTokenCount},
      {"request_generation_tokens", kTokenCount},
      {"request_max_num_generation_tokens", kTokenCount},
      {"request_params_max_tokens", kTokenCount},
      {"request_prefill_kv_computed_tokens", kTokenCount},
      {"request_params_n", {1, 2, 5, 10, 20}},
      {"iteration_tokens_total", kIteration}};
  const auto families = Collect();
  for (const auto& [name, boundaries] : expected) {
    ASSERT_TRUE(families.contains("vllm:" + name)) << name;
    const MetricFamily& family = families.at("vllm:" + name);
    EXPECT_EQ(family.type, MetricType::Histogram) << name;
    std::vector<double> actual;
    for (const auto& bucket : family.metric.at(0).histogram.bucket) {
      actual.push_back(bucket.upper_bound);
    }
    EXPECT_THAT(actual, IsSupersetOf(boundaries)) << name;
  }
}

TEST(VllmMetricsTest, CacheConfigAndReasonsAreLabels) {
  const auto families = Collect();
  const auto config = LabelsOf(families.at("vllm:cache_config_info").metric.at(0));
  EXPECT_EQ(config.at("block_size"), "16");
  EXPECT_EQ(config.at("num_gpu_blocks"), "64");
  std::vector<std::string> reasons;
  for (const auto& metric : families.at("vllm:request_success_total").metric) {
    reasons.push_back(LabelsOf(metric).at("finished_reason"));
  }
  EXPECT_THAT(reasons, ::testing::UnorderedElementsAre("stop", "length", "abort", "error"));
}

TEST(VllmMetricsTest, ValuesFollowOursAndOursStay) {
  const auto registry = std::make_shared<prometheus::Registry>();
  auto& ours =
      prometheus::BuildCounter().Name("spade_preemptions_total").Register(*registry).Add({});
  const VllmMetrics view(registry);
  ours.Increment(3);
  const std::vector<MetricFamily> families = view.Collect();
  ASSERT_EQ(families.size(), 2u);
  EXPECT_EQ(families[0].name, "spade_preemptions_total");
  EXPECT_EQ(families[1].name, "vllm:num_preemptions_total");
  EXPECT_EQ(families[1].metric.at(0).counter.value, 3);
}

}  // namespace
}  // namespace spade
