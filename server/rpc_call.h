#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <spdlog/logger.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "engine/runtime/request.h"
#include "server/auth/authenticator.h"
#include "server/random_source.h"
#include "server/rpc_metrics.h"
#include "server/serving_state.h"
#include "server/tenant.h"
#include "server/write_executor.h"

namespace spade {

class StallWatch;

// What every call uses; all outlive the server.
struct ServiceContext {
  ServingState* state;
  RpcMetrics* metrics;
  WriteExecutor* writes;
  RandomSource* random;
  std::shared_ptr<spdlog::logger> logger;
  const Authenticator* auth;
  StallWatch* stalls;
  // Of one stream: so many bytes, unread for so long, end it.
  size_t max_unread_bytes = 0;
  std::chrono::milliseconds max_stall{0};
};

// One RPC as the metrics, the log, the drain and its tenant's limits see it: from construction to
// destruction.
class RpcCall {
 public:
  RpcCall(const ServiceContext& service, RpcMethod method,
          const grpc::CallbackServerContext& context);
  ~RpcCall();
  RpcCall(const RpcCall&) = delete;
  RpcCall& operator=(const RpcCall&) = delete;

  const Caller& caller() const { return caller_; }
  // Makes a request the caller's own: in its tenant's share of the server, and of the prefix cache.
  // The tenant is its token's, else what it claims. INVALID_ARGUMENT: the claim is no tenant's
  // name.
  absl::Status Own(RequestContext& context) const;
  // Whether it may go on: UNAUTHENTICATED, or RESOURCE_EXHAUSTED at a limit of its tenant. A call
  // of many requests is at no limit itself; Admit is for each of them.
  const absl::Status& admitted() const { return admitted_; }
  absl::StatusOr<Admission> Admit() const { return service_.auth->Admit(caller_); }
  // The call's own place at its tenant's limit, for who works on after the call.
  Admission TakeAdmission() { return std::move(admission_); }

  void set_request_id(std::string id) { request_id_ = std::move(id); }
  // The status to send; remembered for the metrics.
  grpc::Status End(const absl::Status& status);

 private:
  const ServiceContext& service_;
  const RpcMethod method_;
  const Clock::time_point start_ = Clock::now();
  const absl::StatusOr<std::string> claimed_tenant_;
  Caller caller_;
  Admission admission_;
  absl::Status admitted_;
  std::string request_id_;
  absl::Status status_ = absl::CancelledError();  // if the client goes before an answer
};

// Answers a unary call with what `answer()`, or `answer(caller)`, -> absl::Status says, in place:
// for calls that never wait.
template <typename Answer>
grpc::ServerUnaryReactor* AnswerInPlace(const ServiceContext& service,
                                        grpc::CallbackServerContext* context, RpcMethod method,
                                        Answer answer) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  RpcCall call(service, method, *context);
  if (!call.admitted().ok()) {
    reactor->Finish(call.End(call.admitted()));
  } else if constexpr (std::is_invocable_v<Answer, const Caller&>) {
    reactor->Finish(call.End(answer(call.caller())));
  } else {
    reactor->Finish(call.End(answer()));
  }
  return reactor;
}

// The call's deadline on the engine's clock; nullopt: none.
std::optional<Clock::time_point> DeadlineOf(const grpc::CallbackServerContext& context);

// What a call that is no longer wanted ends with.
absl::Status CancelStatus(const std::optional<Clock::time_point>& deadline);

}  // namespace spade
