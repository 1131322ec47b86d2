#include "server/status_convert.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "spade/v1/error_details.pb.h"

namespace spade {
namespace {

// Trailers share HTTP/2's header limit (8 KiB by default), and messages are percent-encoded.
constexpr size_t kMaxMessageBytes = 1024;

// The delay in milliseconds, as text.
constexpr char kRetryDelay[] = "spade/retry-delay";

std::optional<std::chrono::milliseconds> RetryDelayOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryDelay);
  int64_t milliseconds = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &milliseconds)) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(milliseconds);
}

std::string RetryDetails(const std::string& message, std::chrono::milliseconds delay) {
  v1::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(delay.count() / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(delay.count() % 1000 * 1'000'000));
  v1::StatusDetails details;
  details.set_code(static_cast<int>(absl::StatusCode::kResourceExhausted));
  details.set_message(message);
  google::protobuf::Any* any = details.add_details();
  any->set_type_url("type.googleapis.com/google.rpc.RetryInfo");
  retry.SerializeToString(any->mutable_value());
  return details.SerializeAsString();
}

}  // namespace

absl::Status WithRetryDelay(absl::Status status, std::chrono::milliseconds delay) {
  status.SetPayload(kRetryDelay, absl::Cord(std::to_string(delay.count())));
  return status;
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
  if (code != grpc::StatusCode::RESOURCE_EXHAUSTED) return grpc::Status(code, message);
  return grpc::Status(code, message,
                      RetryDetails(message, RetryDelayOf(status).value_or(retry_delay)));
}

}  // namespace spade
