#include "server/grpc_server.h"

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <climits>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/base/status_macros.h"
#include "server/auth/guarded_credentials.h"
#include "server/auth/tls_certificates.h"

namespace spade {
namespace {

// For sending what the engine has finished, after the drain timeout.
constexpr std::chrono::milliseconds kFlushTime{2000};

// Gateways ping idle connections every 10 to 30 s; gRPC's defaults would answer with GOAWAY.
void AllowKeepalivePings(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
}

int ToMillisecondsArgument(std::chrono::milliseconds time) {
  return static_cast<int>(std::min<int64_t>(time.count(), INT_MAX));
}

void SetLimits(grpc::ServerBuilder& builder, const ListenOptions& options) {
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(-1);  // bounded by what the engine makes for one request
  if (options.max_connection_age.count() > 0) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               ToMillisecondsArgument(options.max_connection_age));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                               ToMillisecondsArgument(options.drain_timeout));
  }
}

}  // namespace

GrpcServer::GrpcServer(ListenOptions options, const ServerIdentity& identity,
                       prometheus::Registry* registry, std::shared_ptr<spdlog::logger> logger)
    : options_(std::move(options)),
      logger_(std::move(logger)),
      registry_(registry),
      metrics_(registry),
      auth_(std::make_shared<Authenticator>(options_.token_file, registry, logger_)),
      service_(Context(), identity),
      open_inference_(Context(), identity.version),
      vllm_engine_(Context(), identity),
      admin_(Context()),
      stalls_(options_.max_stall) {}

ServiceContext GrpcServer::Context() {
  return ServiceContext{
      &state_,           &metrics_,   &writes_, &random_,
      logger_,           auth_.get(), &stalls_, static_cast<size_t>(options_.max_unread_bytes),
      options_.max_stall};
}

GrpcServer::~GrpcServer() {
  if (server_ == nullptr) return;
  state_.StartDraining();
  if (engine_ != nullptr) engine_->Drain(std::chrono::milliseconds(0));
  Shutdown();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> GrpcServer::MakeCredentials() {
  std::shared_ptr<TlsCertificates> certificates;
  if (!options_.tls.certificate_file.empty()) {
    certificates = std::make_shared<TlsCertificates>(options_.tls, registry_, logger_);
    SPADE_RETURN_IF_ERROR(certificates->Load());
  }
  SPADE_RETURN_IF_ERROR(auth_->Load());
  if (certificates == nullptr && !auth_->required()) return grpc::InsecureServerCredentials();
  if (certificates == nullptr) {
    logger_->warn("tokens without TLS: whoever is on the way can read them");
  }
  reloads_ = std::make_unique<Repeater>(options_.reload_interval, [this, certificates] {
    if (certificates != nullptr) certificates->Reload();
    auth_->Reload();
  });
  return GuardedCredentials(auth_, certificates);
}

absl::Status GrpcServer::Start() {
  SPADE_ASSIGN_OR_RETURN(const auto credentials, MakeCredentials());
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options_.address, credentials, &port_);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a taken port must be an error
  AllowKeepalivePings(builder);
  SetLimits(builder, options_);
  builder.RegisterService(&service_);
  builder.RegisterService(&open_inference_);
  builder.RegisterService(&vllm_engine_);
  if (options_.admin) builder.RegisterService(&admin_);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return absl::UnavailableError("cannot listen on " + options_.address +
                                  ": the address is in use or wrong");
  }
  health_ = std::make_unique<HealthMonitor>(server_->GetHealthCheckService(), &state_, registry_,
                                            options_.liveness_timeout, logger_);
  return absl::OkStatus();
}

void GrpcServer::Serve(std::unique_ptr<InferenceEngine> engine, const std::string& model_name) {
  engine_ = std::move(engine);
  state_.SetModel(std::make_unique<ServedModel>(engine_.get(), model_name, &random_));
  health_->Update();
}

int GrpcServer::Drain() {
  const auto deadline = Clock::now() + options_.drain_timeout;
  state_.StartDraining();
  health_->Update();
  int cut_off = 0;
  if (engine_ != nullptr) {
    engine_->StopAccepting();
    cut_off = engine_->Drain(options_.drain_timeout);
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  state_.WaitForCalls(std::max(left, std::chrono::milliseconds(0)) + kFlushTime);
  Shutdown();
  return cut_off;
}

void GrpcServer::Shutdown() {
  health_.reset();
  server_->Shutdown(std::chrono::system_clock::now());  // ends health watches, and slow readers
  server_.reset();
}

}  // namespace spade
