#pragma once

#include <grpcpp/health_check_service_interface.h>
#include <spdlog/logger.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "server/serving_state.h"

namespace spade {

// Tells gRPC's health service what is true: SERVING while a model is loaded, nothing drains, and
// the engine's loop either is idle or has finished a step within `liveness_timeout`. Thread-safe.
class HealthMonitor {
 public:
  // `health` and `state` outlive this.
  HealthMonitor(grpc::HealthCheckServiceInterface* health, const ServingState* state,
                std::chrono::milliseconds liveness_timeout, std::shared_ptr<spdlog::logger> logger);
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  // Looks at once, not at the next tick.
  void Update();

 private:
  void Run();
  bool EngineStalled() const;

  grpc::HealthCheckServiceInterface* const health_;
  const ServingState* const state_;
  const std::chrono::milliseconds liveness_timeout_;
  const std::shared_ptr<spdlog::logger> logger_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool serving_ = false;
  bool stalled_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace spade
