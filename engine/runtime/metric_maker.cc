#include "engine/runtime/metric_maker.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

namespace spade {

MetricMaker::MetricMaker(prometheus::Registry* registry, const std::string& model_name)
    : registry_(*registry), labels_{{"model_name", model_name}} {}

prometheus::Counter* MetricMaker::Counter(const char* name, const char* help,
                                          prometheus::Labels more) const {
  more.insert(labels_.begin(), labels_.end());
  return &prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(more);
}

prometheus::Gauge* MetricMaker::Gauge(const char* name, const char* help,
                                      prometheus::Labels more) const {
  more.insert(labels_.begin(), labels_.end());
  return &prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(more);
}

prometheus::Histogram* MetricMaker::Histogram(const char* name, const char* help,
                                              const Buckets& buckets,
                                              prometheus::Labels more) const {
  more.insert(labels_.begin(), labels_.end());
  return &prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(more, buckets);
}

Buckets FirstTokenBuckets() {
  return {0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5,
          0.75,    1,      2.5,   5,      7.5,   10,   20,   40,   80,   160,  640, 2560};
}

Buckets TokenGapBuckets() {
  return {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
          0.3,    0.4,    0.5,    0.75,  1,     2.5,   5,    7.5,   10,   20,    40,  80};
}

Buckets RequestTimeBuckets() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2,
          0.3,    0.5,     0.8,    1,     1.5,    2,     2.5,  5,     10,   15,  20,
          30,     40,      50,     60,    120,    240,   480,  960,   1920, 7680};
}

Buckets TokenCountBuckets(int32_t max_tokens) {
  Buckets buckets;
  for (double power = 1; power <= max_tokens; power *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) {
      if (power * step <= max_tokens) buckets.push_back(power * step);
    }
  }
  return buckets;
}

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

}  // namespace spade
