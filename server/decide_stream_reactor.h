#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "server/response_convert.h"
#include "server/rpc_call.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// One DecideStream call: many decisions in flight, answered as they finish. Reading stops while
// kMaxInFlight requests are unanswered or unsent, so HTTP/2's flow control holds the client back.
// Threading and lifetime as ResponseStream; the engine holds it through each request's sink.
class DecideStreamReactor final
    : public grpc::ServerBidiReactor<v1::DecideRequest, v1::DecideResponse>,
      public ResumableStream {
 public:
  static constexpr size_t kMaxInFlight = 256;

  // gRPC owns the stream's life from here on.
  static DecideStreamReactor* Start(const ServiceContext& service,
                                    grpc::CallbackServerContext* context);
  void Resume() override;

 private:
  class Sink;
  enum class Action { kNone, kWrite, kFinish };

  DecideStreamReactor(const ServiceContext& service, grpc::CallbackServerContext* context);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  absl::Status Submit(const v1::DecideRequest& request);
  absl::Status Register(const std::string& id);  // ALREADY_EXISTS: in flight
  void Bind(const std::string& id, InferenceEngine* engine, InferenceEngine::RequestHandle handle);
  void Deliver(v1::DecideResponse response);
  void Complete(const std::string& id, std::optional<v1::DecideResponse> error);
  void PostLocked();
  void Abandon();
  void Advance();
  Action NextAction(grpc::Status& status);
  bool TakeRead();

  const ServiceContext& service_;
  const std::optional<Clock::time_point> deadline_;
  std::shared_ptr<DecideStreamReactor> self_;  // gRPC's hold; let go in OnDone
  v1::DecideRequest request_;                  // being read
  v1::DecideResponse current_;                 // being written

  std::mutex mutex_;
  std::optional<RpcCall> call_;
  InferenceEngine* engine_ = nullptr;
  // By request id; no handle yet while the engine is being asked.
  std::unordered_map<std::string, std::optional<InferenceEngine::RequestHandle>> active_;
  std::deque<v1::DecideResponse> pending_;
  absl::Status outcome_;  // of the whole stream
  bool reading_ = false;
  int starting_reads_ = 0;  // threads between deciding on a read and StartRead's return
  bool reads_done_ = false;
  bool cancelled_ = false;
  bool write_in_flight_ = false;
  bool resume_posted_ = false;
  bool finishing_ = false;
};

}  // namespace spade
