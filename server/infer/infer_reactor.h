#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "inference/open_inference.pb.h"
#include "server/infer/infer_task.h"
#include "server/rpc_call.h"

namespace spade {

// One ModelInfer call: one response, when the engine is done. Threading and lifetime as
// ResponseStream.
class InferReactor final : public grpc::ServerUnaryReactor, public ResumableStream {
 public:
  // gRPC owns the call's life from here on; `response` is its own.
  static InferReactor* Start(const ServiceContext& service, grpc::CallbackServerContext* context,
                             const ::inference::ModelInferRequest& request,
                             ::inference::ModelInferResponse* response);
  void Resume() override;

 private:
  class Sink;

  InferReactor(const ServiceContext& service, grpc::CallbackServerContext* context,
               const ::inference::ModelInferRequest& request,
               ::inference::ModelInferResponse* response);

  void OnCancel() override;
  void OnDone() override;

  absl::Status Submit(const ::inference::ModelInferRequest& request);
  void Complete(const absl::Status& status);

  const ServiceContext& service_;
  const std::optional<Clock::time_point> deadline_;
  ::inference::ModelInferResponse* const response_;
  std::shared_ptr<InferReactor> self_;  // gRPC's hold; let go in OnDone

  std::mutex mutex_;
  std::optional<RpcCall> call_;
  InferResponses responses_;
  InferenceEngine* engine_ = nullptr;
  InferenceEngine::RequestHandle handle_ = 0;
  std::optional<absl::Status> outcome_;  // the engine is done
  bool cancelled_ = false;
};

}  // namespace spade
