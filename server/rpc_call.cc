#include "server/rpc_call.h"

#include "engine/base/reason.h"
#include "server/status_convert.h"

namespace spade {
namespace {

// Calls that are one request for work. What only asks, or ends work, is at no limit.
bool IsOneRequest(RpcMethod method) {
  switch (method) {
    case RpcMethod::kGenerate:
    case RpcMethod::kDecide:
    case RpcMethod::kTokenize:
    case RpcMethod::kDetokenize:
    case RpcMethod::kModelInfer:
    case RpcMethod::kVllmGenerate:
      return true;
    default:
      return false;
  }
}

}  // namespace

RpcCall::RpcCall(const ServiceContext& service, RpcMethod method,
                 const grpc::CallbackServerContext& context)
    : service_(service), method_(method), claimed_tenant_(TenantOf(context)) {
  service_.state->CallStarted();
  service_.metrics->Started(method_);
  auto caller = service_.auth->Identify(context.client_metadata());
  admitted_ = caller.status();
  if (!caller.ok()) return;  // its token was taken away since the guard saw it
  caller_ = *std::move(caller);
  if (!IsOneRequest(method_)) return;
  auto admission = Admit();
  admitted_ = admission.status();
  if (admission.ok()) admission_ = *std::move(admission);
}

RpcCall::~RpcCall() {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  service_.metrics->Handled(method_, static_cast<grpc::StatusCode>(status_.raw_code()), seconds);
  const auto level =
      status_.code() == absl::StatusCode::kInternal ? spdlog::level::err : spdlog::level::debug;
  if (service_.logger->should_log(level)) {
    service_.logger->log(level, "rpc {} id={} code={} seconds={:.6f} {}", NameOf(method_),
                         request_id_, status_.raw_code(), seconds, std::string(status_.message()));
  }
  if (!status_.ok()) service_.metrics->Failed(status_);
  service_.state->CallEnded();
}

absl::Status RpcCall::Own(RequestContext& context) const {
  if (!caller_.authenticated() && !claimed_tenant_.ok()) return claimed_tenant_.status();
  context.tenant = caller_.authenticated() ? caller_.tenant : *claimed_tenant_;
  caller_.ScopeCache(context);
  return absl::OkStatus();
}

grpc::Status RpcCall::End(const absl::Status& status) {
  status_ = status;
  return ToGrpcStatus(status, RetryDelay(status, service_.random));
}

std::optional<Clock::time_point> DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return std::nullopt;
  const auto left = deadline - std::chrono::system_clock::now();
  constexpr auto kFar = std::chrono::hours(24 * 365);  // further would overflow, and means none
  if (left > kFar) return std::nullopt;
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(left);
}

absl::Status CancelStatus(const std::optional<Clock::time_point>& deadline) {
  // The client's own timer ends the call first: this side's deadline is later by the request's way
  // and by the rounding of the timeout header.
  constexpr std::chrono::milliseconds kSlack(50);
  if (deadline.has_value() && Clock::now() + kSlack >= *deadline) {
    return absl::DeadlineExceededError("the call's deadline has passed");
  }
  return absl::CancelledError("the client cancelled the call");
}

}  // namespace spade
