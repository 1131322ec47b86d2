#pragma once

#include <atomic>

#include "server/inference_service.h"
#include "server/rpc_call.h"
#include "server/vllm/request_registry.h"
#include "server/vllm/tokenizer_archive.h"
#include "vllm/vllm_engine.grpc.pb.h"

namespace spade {

// The RPCs of vllm.grpc.engine.VllmEngine, which gateways drive a worker by.
class VllmEngineService final : public ::vllm::grpc::engine::VllmEngine::CallbackService {
 public:
  VllmEngineService(ServiceContext service, ServerIdentity identity);

  grpc::ServerWriteReactor<::vllm::grpc::engine::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Embed(grpc::CallbackServerContext* context,
                                  const ::vllm::grpc::engine::EmbedRequest* request,
                                  ::vllm::grpc::engine::EmbedResponse* response) override;
  grpc::ServerUnaryReactor* HealthCheck(
      grpc::CallbackServerContext* context, const ::vllm::grpc::engine::HealthCheckRequest* request,
      ::vllm::grpc::engine::HealthCheckResponse* response) override;
  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* context,
                                  const ::vllm::grpc::engine::AbortRequest* request,
                                  ::vllm::grpc::engine::AbortResponse* response) override;
  grpc::ServerUnaryReactor* GetModelInfo(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GetModelInfoRequest* request,
      ::vllm::grpc::engine::GetModelInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GetServerInfoRequest* request,
      ::vllm::grpc::engine::GetServerInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetLoads(grpc::CallbackServerContext* context,
                                     const ::vllm::grpc::engine::GetLoadsRequest* request,
                                     ::vllm::grpc::engine::GetLoadsResponse* response) override;
  grpc::ServerWriteReactor<::smg::grpc::common::GetTokenizerChunk>* GetTokenizer(
      grpc::CallbackServerContext* context,
      const ::smg::grpc::common::GetTokenizerRequest* request) override;

 private:
  const ServiceContext service_;
  const ServerIdentity identity_;
  const Clock::time_point start_ = Clock::now();
  RequestRegistry registry_;
  TokenizerArchiveCache tokenizer_;
  std::atomic<double> last_request_ = 0;  // Unix time
};

}  // namespace spade
