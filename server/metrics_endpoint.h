#pragma once

#include <prometheus/exposer.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/process_metrics.h"
#include "server/vllm_metrics.h"

namespace spade {

// Serves the registry, also under vLLM's names, and the process's own metrics at
// http://<address>/metrics.
class MetricsEndpoint {
 public:
  // Null if `address` is empty. UNAVAILABLE: the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(
      const std::string& address, std::shared_ptr<prometheus::Registry> registry);

  int port() const { return exposer_.GetListeningPorts().at(0); }

 private:
  MetricsEndpoint(const std::string& address, std::shared_ptr<prometheus::Registry> registry);

  const std::shared_ptr<VllmMetrics> metrics_;
  const std::shared_ptr<ProcessMetrics> process_ = std::make_shared<ProcessMetrics>();
  prometheus::Exposer exposer_;
};

}  // namespace spade
