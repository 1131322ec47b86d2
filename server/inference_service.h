#pragma once

#include <string>

#include "server/rpc_call.h"
#include "spade/v1/inference.grpc.pb.h"

namespace spade {

struct ServerIdentity {
  std::string version;
  int32_t kv_block_size = 0;
  int32_t max_sequences = 0;
  int32_t max_rows = 0;
  std::string model_directory = {};  // absolute
};

// The RPCs of spade.v1.InferenceService. Each lives in its own reactor; this class only starts
// them.
class InferenceService final : public v1::InferenceService::CallbackService {
 public:
  InferenceService(ServiceContext service, ServerIdentity identity);

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerWriteReactor<v1::DecideResponse>* Decide(grpc::CallbackServerContext* context,
                                                       const v1::DecideRequest* request) override;
  grpc::ServerBidiReactor<v1::DecideRequest, v1::DecideResponse>* DecideStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;

 private:
  // Runs `answer(model)` -> absl::Status in place: these calls never wait.
  template <typename Answer>
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, RpcMethod method,
                                  Answer answer);

  const ServiceContext service_;
  const ServerIdentity identity_;
  const Clock::time_point start_ = Clock::now();
};

}  // namespace spade
