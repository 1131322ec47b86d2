#include "engine/base/reason.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace spade {
namespace {

constexpr char kReasonUrl[] = "spade/reason";
constexpr char kRetryUrl[] = "spade/retry-after-ms";

constexpr std::array<std::string_view, kNumReasons> kNames = {
    "none",      "invalid",        "no_certificate",  "queue_requests", "queue_tokens",
    "displaced", "queue_time",     "queue_forecast",  "deadline_waits", "deadline_runs",
    "cancelled", "stalled_client", "loading",         "draining",       "shut_down",
    "memory",    "unimplemented",  "unauthenticated", "tenant_limit",   "not_finite",
    "internal",  "other"};

std::optional<int64_t> NumberIn(const absl::Status& status, const char* url) {
  const auto payload = status.GetPayload(url);
  int64_t number = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &number)) return std::nullopt;
  return number;
}

Reason ReasonOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return Reason::kNone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kOutOfRange:
      return Reason::kInvalid;
    case absl::StatusCode::kFailedPrecondition:
      return Reason::kNoCertificate;
    case absl::StatusCode::kDeadlineExceeded:
      return Reason::kDeadlineRuns;
    case absl::StatusCode::kCancelled:
      return Reason::kCancelled;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return Reason::kUnauthenticated;
    case absl::StatusCode::kUnimplemented:
      return Reason::kUnimplemented;
    case absl::StatusCode::kInternal:
      return Reason::kInternal;
    default:
      return Reason::kOther;
  }
}

}  // namespace

std::string_view NameOf(Reason reason) { return kNames[static_cast<size_t>(reason)]; }

absl::Status WithReason(absl::Status status, Reason reason) {
  status.SetPayload(kReasonUrl, absl::Cord(absl::StrCat(static_cast<int>(reason))));
  return status;
}

absl::Status WithRetryAfter(absl::Status status, std::chrono::milliseconds delay) {
  status.SetPayload(kRetryUrl, absl::Cord(absl::StrCat(delay.count())));
  return status;
}

absl::Status RetryLater(std::string_view message, Reason reason, std::chrono::milliseconds delay) {
  return WithRetryAfter(
      WithReason(absl::ResourceExhaustedError({message.data(), message.size()}), reason), delay);
}

absl::Status NotFinite() {
  return WithReason(absl::InternalError(
                        "the model's logits are not finite: its weights are damaged, or too large "
                        "for their type; try weight_dtype and compute f32"),
                    Reason::kNotFinite);
}

Reason ReasonOf(const absl::Status& status) {
  const std::optional<int64_t> set = NumberIn(status, kReasonUrl);
  if (set && *set >= 0 && *set < static_cast<int64_t>(kNumReasons)) return Reason(*set);
  return ReasonOf(status.code());
}

bool HasReason(const absl::Status& status) { return status.GetPayload(kReasonUrl).has_value(); }

std::optional<std::chrono::milliseconds> RetryAfterOf(const absl::Status& status) {
  const std::optional<int64_t> set = NumberIn(status, kRetryUrl);
  if (!set) return std::nullopt;
  return std::chrono::milliseconds(*set);
}

}  // namespace spade
