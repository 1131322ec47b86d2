#pragma once

#include <deque>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "server/response_stream.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// Decisions that wait to be sent: two at most.
class DecideBuffer {
 public:
  void Add(v1::DecideResponse response) { pending_.push_back(std::move(response)); }
  bool empty() const { return pending_.empty(); }
  size_t bytes() const { return 0; }  // too little to count
  v1::DecideResponse Take() {
    v1::DecideResponse response = std::move(pending_.front());
    pending_.pop_front();
    return response;
  }

 private:
  std::deque<v1::DecideResponse> pending_;
};

// One Decide call.
class DecideReactor final : public ResponseStream<v1::DecideResponse, DecideBuffer> {
 public:
  DecideReactor(const ServiceContext& service, grpc::CallbackServerContext* context);

  // Hands the request to the engine, which holds `stream` until it is done with it.
  static absl::Status Submit(const std::shared_ptr<DecideReactor>& stream,
                             const v1::DecideRequest& request);

 private:
  class Sink;
};

}  // namespace spade
