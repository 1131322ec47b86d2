#include "server/health_monitor.h"

#include <algorithm>
#include <utility>

namespace spade {
namespace {

// The name of the whole server, and of the service that readiness probes and balancers ask for.
constexpr const char* kServices[] = {"", "spade.v1.InferenceService"};

}  // namespace

HealthMonitor::HealthMonitor(grpc::HealthCheckServiceInterface* health, const ServingState* state,
                             std::chrono::milliseconds liveness_timeout,
                             std::shared_ptr<spdlog::logger> logger)
    : health_(health),
      state_(state),
      liveness_timeout_(liveness_timeout),
      logger_(std::move(logger)) {
  for (const char* service : kServices) health_->SetServingStatus(service, false);
  thread_ = std::thread([this] { Run(); });
}

HealthMonitor::~HealthMonitor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void HealthMonitor::Update() {
  std::lock_guard lock(mutex_);
  const bool stalled = EngineStalled();
  if (stalled != stalled_) {
    stalled_ = stalled;
    if (stalled) {
      logger_->error("the engine has finished no step for {} ms: reporting NOT_SERVING",
                     liveness_timeout_.count());
    } else {
      logger_->info("the engine makes progress again");
    }
  }
  const bool serving = state_->model() != nullptr && !state_->draining() && !stalled;
  if (serving == serving_) return;
  serving_ = serving;
  for (const char* service : kServices) health_->SetServingStatus(service, serving);
}

void HealthMonitor::Run() {
  const auto period = std::clamp(liveness_timeout_ / 4, std::chrono::milliseconds(10),
                                 std::chrono::milliseconds(1000));
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, period, [this] { return stopping_; })) {
    lock.unlock();
    Update();
    lock.lock();
  }
}

bool HealthMonitor::EngineStalled() const {
  const ServedModel* model = state_->model();
  if (model == nullptr) return false;
  const EngineStats stats = model->engine->Stats();
  return !stats.idle &&
         stats.seconds_since_step > std::chrono::duration<double>(liveness_timeout_).count();
}

}  // namespace spade
