#include "server/status_convert.h"

#include <string>

#include "absl/strings/ascii.h"
#include "engine/base/reason.h"
#include "spade/v1/error_details.pb.h"

namespace spade {
namespace {

// Trailers share HTTP/2's header limit (8 KiB by default), and messages are percent-encoded.
constexpr size_t kMaxMessageBytes = 1024;

void AddDetail(const char* type, const google::protobuf::Message& message,
               v1::StatusDetails* details) {
  google::protobuf::Any* any = details->add_details();
  any->set_type_url(std::string("type.googleapis.com/google.rpc.") + type);
  message.SerializeToString(any->mutable_value());
}

v1::ErrorInfo ErrorInfoOf(Reason reason) {
  v1::ErrorInfo info;
  info.set_reason(absl::AsciiStrToUpper({NameOf(reason).data(), NameOf(reason).size()}));
  info.set_domain("spade");
  return info;
}

v1::RetryInfo RetryInfoOf(std::chrono::milliseconds delay) {
  v1::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(delay.count() / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(delay.count() % 1000 * 1'000'000));
  return retry;
}

}  // namespace

std::chrono::milliseconds RetryDelay(const absl::Status& status, RandomSource* random) {
  const auto delay = RetryAfterOf(status).value_or(std::chrono::milliseconds(1000)).count();
  const auto least = ReasonOf(status) == Reason::kTenantLimit ? delay : delay / 2;
  return std::chrono::milliseconds(least +
                                   static_cast<int64_t>(random->Next() % 1024) * delay / 1024);
}

// Cuts at a character's border: clients decode the message as UTF-8.
std::string TruncatedMessage(std::string_view message) {
  if (message.size() <= kMaxMessageBytes) return std::string(message);
  size_t end = kMaxMessageBytes;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return std::string(message.substr(0, end)) + "...";
}

grpc::Status ToGrpcStatus(const absl::Status& status, std::chrono::milliseconds retry_delay) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = TruncatedMessage({status.message().data(), status.message().size()});
  const auto code = static_cast<grpc::StatusCode>(status.raw_code());
  const bool may_retry = code == grpc::StatusCode::RESOURCE_EXHAUSTED;
  if (!may_retry && !HasReason(status)) return grpc::Status(code, message);
  v1::StatusDetails details;
  details.set_code(status.raw_code());
  details.set_message(message);
  if (may_retry) AddDetail("RetryInfo", RetryInfoOf(retry_delay), &details);
  if (HasReason(status)) AddDetail("ErrorInfo", ErrorInfoOf(ReasonOf(status)), &details);
  return grpc::Status(code, message, details.SerializeAsString());
}

}  // namespace spade
