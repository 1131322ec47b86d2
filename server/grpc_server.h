#pragma once

#include <grpcpp/server.h>
#include <prometheus/registry.h>
#include <spdlog/logger.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/admin_service.h"
#include "server/auth/authenticator.h"
#include "server/health_monitor.h"
#include "server/infer/open_inference_service.h"
#include "server/inference_engine.h"
#include "server/inference_service.h"
#include "server/repeater.h"
#include "server/rpc_call.h"
#include "server/server_options.h"
#include "server/stall_watch.h"
#include "server/vllm/engine_service.h"

namespace spade {

// The listening server: first without a model (health says NOT_SERVING, calls end as UNAVAILABLE),
// then with one, then draining. Start, Serve and Drain from one thread.
class GrpcServer {
 public:
  // `registry` outlives this.
  GrpcServer(ListenOptions options, const ServerIdentity& identity, prometheus::Registry* registry,
             std::shared_ptr<spdlog::logger> logger);
  ~GrpcServer();  // drains with no grace what Drain has not

  // Listens. UNAVAILABLE: the address is in use or cannot be bound; NOT_FOUND or INVALID_ARGUMENT:
  // a TLS file or the token file, which are watched from then on.
  absl::Status Start();
  int port() const { return port_; }

  // The model is loaded: calls are accepted from now on. Once.
  void Serve(std::unique_ptr<InferenceEngine> engine, const std::string& model_name);

  // Refuses new calls, lets running ones finish within the drain timeout, and stops listening.
  // Returns the number of requests that were cut off.
  int Drain();

 private:
  ServiceContext Context();
  absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials();
  void Shutdown();

  const ListenOptions options_;
  const std::shared_ptr<spdlog::logger> logger_;
  prometheus::Registry* const registry_;
  RandomSource random_;
  RpcMetrics metrics_;
  const std::shared_ptr<Authenticator> auth_;
  // Destroyed in the reverse order: gRPC's server, then the engine, which may still hold streams,
  // then what streams use.
  ServingState state_;
  InferenceService service_;
  OpenInferenceService open_inference_;
  VllmEngineService vllm_engine_;
  AdminService admin_;
  WriteExecutor writes_;
  StallWatch stalls_;
  std::unique_ptr<InferenceEngine> engine_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<HealthMonitor> health_;
  std::unique_ptr<Repeater> reloads_;  // null: nothing can change
};

}  // namespace spade
