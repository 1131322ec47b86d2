#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "inference/open_inference.pb.h"
#include "server/infer/infer_task.h"
#include "server/request_stream.h"

namespace spade {

// The unsent responses of one request of a stream, its error last.
class InferLane {
 public:
  explicit InferLane(const ::inference::ModelInferRequest& request) : responses_(request) {}

  InferResponses& responses() { return responses_; }
  void Fail(const absl::Status& status);
  bool empty() const { return responses_.empty() && error_.empty(); }
  std::function<::inference::ModelStreamInferResponse()> Take();

 private:
  InferResponses responses_;
  std::string error_;
};

// One ModelStreamInfer call: many inferences in flight; their responses interleave.
class InferStreamReactor final
    : public RequestStream<::inference::ModelInferRequest, ::inference::ModelStreamInferResponse,
                           InferLane>,
      public std::enable_shared_from_this<InferStreamReactor> {
 public:
  InferStreamReactor(const ServiceContext& service, grpc::CallbackServerContext* context)
      : RequestStream(service, RpcMethod::kModelStreamInfer, context) {}

 private:
  class Sink;

  void Handle(const ::inference::ModelInferRequest& request) override;
  absl::Status Submit(const ::inference::ModelInferRequest& request, Key key);
};

}  // namespace spade
