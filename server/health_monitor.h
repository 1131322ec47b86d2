#pragma once

#include <grpcpp/health_check_service_interface.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <spdlog/logger.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "server/serving_state.h"

namespace spade {

// Tells gRPC's health service, and three metrics, what is true: SERVING while a model is loaded,
// nothing drains, and the engine's loop either is idle or has finished a step within
// `liveness_timeout`. The name "liveness" asks for the last of these only: what it calls
// NOT_SERVING a restart can help. Thread-safe.
class HealthMonitor {
 public:
  // `health`, `state` and `registry` outlive this.
  HealthMonitor(grpc::HealthCheckServiceInterface* health, ServingState* state,
                prometheus::Registry* registry, std::chrono::milliseconds liveness_timeout,
                std::shared_ptr<spdlog::logger> logger);
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  // Looks at once, not at the next tick.
  void Update();

 private:
  void Run();

  grpc::HealthCheckServiceInterface* const health_;
  ServingState* const state_;
  const std::chrono::milliseconds liveness_timeout_;
  const std::shared_ptr<spdlog::logger> logger_;
  prometheus::Gauge& serving_gauge_;
  prometheus::Gauge& heartbeat_age_;
  prometheus::Gauge& idle_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool serving_ = false;
  bool stalled_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace spade
