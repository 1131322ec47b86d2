#include "server/health_monitor.h"

#include <algorithm>
#include <utility>

namespace spade {
namespace {

// The name of the whole server, and those of the services that readiness probes and balancers ask
// for.
constexpr const char* kServices[] = {"", "spade.v1.InferenceService",
                                     "inference.GRPCInferenceService",
                                     "vllm.grpc.engine.VllmEngine"};
constexpr char kLiveness[] = "liveness";

prometheus::Gauge& MakeGauge(prometheus::Registry* registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry).Add({});
}

}  // namespace

HealthMonitor::HealthMonitor(grpc::HealthCheckServiceInterface* health, ServingState* state,
                             prometheus::Registry* registry,
                             std::chrono::milliseconds liveness_timeout,
                             std::shared_ptr<spdlog::logger> logger)
    : health_(health),
      state_(state),
      liveness_timeout_(liveness_timeout),
      logger_(std::move(logger)),
      serving_gauge_(MakeGauge(registry, "spade_serving", "1 while health reports SERVING")),
      heartbeat_age_(MakeGauge(registry, "spade_engine_heartbeat_age_seconds",
                               "Time since the engine's last finished step; 0 while idle")),
      idle_(MakeGauge(registry, "spade_engine_idle",
                      "1 while the engine has no requests: then no step is no hang")) {
  health_->SetServingStatus(kLiveness, true);
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
  const ServedModel* model = state_->model();
  const EngineStats stats = model == nullptr ? EngineStats() : model->engine->Stats();
  const double age = stats.idle ? 0 : stats.seconds_since_step;
  heartbeat_age_.Set(age);
  idle_.Set(stats.idle ? 1 : 0);
  const bool stalled = age > std::chrono::duration<double>(liveness_timeout_).count();
  if (stalled != stalled_) {
    stalled_ = stalled;
    state_->SetStalled(stalled);
    health_->SetServingStatus(kLiveness, !stalled);
    if (stalled) {
      logger_->error("the engine has finished no step for {} ms: reporting NOT_SERVING",
                     liveness_timeout_.count());
    } else {
      logger_->info("the engine makes progress again");
    }
  }
  const bool serving = model != nullptr && !state_->draining() && !stalled;
  if (serving == serving_) return;
  serving_ = serving;
  serving_gauge_.Set(serving ? 1 : 0);
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

}  // namespace spade
