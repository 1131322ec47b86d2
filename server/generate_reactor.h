#pragma once

#include <memory>

#include "absl/status/status.h"
#include "server/response_convert.h"
#include "server/response_stream.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// One Generate call.
class GenerateReactor final : public ResponseStream<v1::GenerateResponse, GenerateBuffer> {
 public:
  GenerateReactor(const ServiceContext& service, grpc::CallbackServerContext* context,
                  const v1::GenerateRequest& request);

  // Hands the request to the engine, which holds `stream` until it is done with it.
  static absl::Status Submit(const std::shared_ptr<GenerateReactor>& stream,
                             const v1::GenerateRequest& request);

 private:
  class Sink;
};

}  // namespace spade
