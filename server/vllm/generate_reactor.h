#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/response_stream.h"
#include "server/vllm/generate_buffer.h"
#include "server/vllm/request_registry.h"

namespace spade {

// One VllmEngine.Generate call.
class VllmGenerateReactor final
    : public ResponseStream<vllm_api::GenerateResponse, VllmGenerateBuffer>,
      public Abortable {
 public:
  // `registry` outlives this.
  VllmGenerateReactor(const ServiceContext& service, grpc::CallbackServerContext* context,
                      bool stream, RequestRegistry* registry)
      : ResponseStream(service, RpcMethod::kVllmGenerate, context, VllmGenerateBuffer(stream)),
        registry_(registry) {}
  ~VllmGenerateReactor() override;

  // Hands the request to the engine, which holds `stream` until it is done with it.
  static absl::Status Submit(const std::shared_ptr<VllmGenerateReactor>& stream,
                             const vllm_api::GenerateRequest& request);

  void Abort() override { CancelRequest(); }

 private:
  class Sink;

  RequestRegistry* const registry_;
  std::string registered_id_;  // empty: none
};

}  // namespace spade
