#pragma once

#include <prometheus/histogram.h>
#include <prometheus/labels.h>

#include <cstdint>
#include <string>

namespace prometheus {
class Counter;
class Gauge;
class Registry;
}  // namespace prometheus

namespace spade {

using Buckets = prometheus::Histogram::BucketBoundaries;

// Makes the metrics of one engine in its registry: all carry the model's name as a label.
class MetricMaker {
 public:
  MetricMaker(prometheus::Registry* registry, const std::string& model_name);

  prometheus::Counter* Counter(const char* name, const char* help,
                               prometheus::Labels more = {}) const;
  prometheus::Gauge* Gauge(const char* name, const char* help, prometheus::Labels more = {}) const;
  prometheus::Histogram* Histogram(const char* name, const char* help, const Buckets& buckets,
                                   prometheus::Labels more = {}) const;

 private:
  prometheus::Registry& registry_;
  const prometheus::Labels labels_;
};

// The boundaries of vLLM's histogram of the same meaning, with finer ones below the first: its
// lists begin where a decision on a CPU is already over.
Buckets FirstTokenBuckets();                    // seconds
Buckets TokenGapBuckets();                      // seconds
Buckets RequestTimeBuckets();                   // seconds
Buckets TokenCountBuckets(int32_t max_tokens);  // 1, 2, 5, 10, ... up to `max_tokens`

Buckets Decades(double first, double last);  // 1, 2.5, 5 times powers of ten
Buckets PowersOfTwo(int count);
Buckets OnePerLayer(int32_t num_layers);

}  // namespace spade
