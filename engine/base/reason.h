#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string_view>

#include "absl/status/status.h"

namespace spade {

// Why a request was refused or ended early: what a status code is too coarse to tell.
enum class Reason {
  kNone,           // OK
  kInvalid,        // the request itself is wrong
  kNoCertificate,  // its mode needs a certificate that is not there
  kQueueRequests,  // too many requests wait
  kQueueTokens,    // too many prompt tokens wait
  kDisplaced,      // it waited, and gave its place to a tenant below its share
  kQueueTime,      // it waited longer than it may
  kQueueForecast,  // it would have, going by what waits before it
  kDeadlineWaits,  // its deadline passed before anything of it was answered
  kDeadlineRuns,   // its deadline passed in the middle of its answer
  kCancelled,      // by its client
  kStalledClient,  // its client does not read
  kLoading,        // the model is not there yet
  kDraining,       // the server takes nothing new
  kShutDown,       // the server stopped before it was finished
  kMemory,         // an allocation failed
  kUnimplemented,  // a feature that this server lacks
  kUnauthenticated,
  kTenantLimit,  // of its own
  kNotFinite,    // the model's logits are not numbers
  kInternal,     // our bug
  kOther,
};
inline constexpr size_t kNumReasons = 22;

// As metrics and the request log spell it: "queue_requests".
std::string_view NameOf(Reason reason);

// The status with its reason, or with when to try again, as payloads; OK stays as it is.
absl::Status WithReason(absl::Status status, Reason reason);
absl::Status WithRetryAfter(absl::Status status, std::chrono::milliseconds delay);

// INTERNAL: the model's logits answer nothing, by its files or by its numeric type.
absl::Status NotFinite();
// RESOURCE_EXHAUSTED with both: what a refused request is told.
absl::Status RetryLater(std::string_view message, Reason reason, std::chrono::milliseconds delay);

// The one that was set, else what the code says by itself.
Reason ReasonOf(const absl::Status& status);
bool HasReason(const absl::Status& status);  // one was set
std::optional<std::chrono::milliseconds> RetryAfterOf(const absl::Status& status);

}  // namespace spade
