#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <memory>
#include <vector>

namespace spade {

// The metrics of `source`, and those of them that vLLM has too a second time under vLLM's name:
// routers, autoscalers and dashboards made for vLLM read this server unchanged. Thread-safe where
// `source` is.
class VllmMetrics final : public prometheus::Collectable {
 public:
  explicit VllmMetrics(std::shared_ptr<const prometheus::Collectable> source);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::shared_ptr<const prometheus::Collectable> source_;
};

}  // namespace spade
