#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

#include "absl/status/status.h"
#include "server/decide_reactor.h"
#include "server/request_stream.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// One DecideStream call: many decisions in flight, answered as they finish.
class DecideStreamReactor final
    : public RequestStream<v1::DecideRequest, v1::DecideResponse, DecideBuffer>,
      public std::enable_shared_from_this<DecideStreamReactor> {
 public:
  DecideStreamReactor(const ServiceContext& service, grpc::CallbackServerContext* context)
      : RequestStream(service, RpcMethod::kDecideStream, context) {}

 private:
  class Sink;

  void Handle(const v1::DecideRequest& request) override;
  absl::Status Submit(const v1::DecideRequest& request, Key key);
  absl::Status Register(const std::string& id);  // ALREADY_EXISTS: in flight
  void Unregister(const std::string& id);

  std::mutex ids_mutex_;
  std::unordered_set<std::string> ids_;  // in flight
};

}  // namespace spade
