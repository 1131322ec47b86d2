#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace spade {

// The status with the time after which a client may try again, for ToGrpcStatus.
absl::Status WithRetryDelay(absl::Status status, std::chrono::milliseconds delay);

// The one place where a status leaves the process. RESOURCE_EXHAUSTED carries a
// google.rpc.RetryInfo in its details: WithRetryDelay's, else `retry_delay`.
grpc::Status ToGrpcStatus(const absl::Status& status, std::chrono::milliseconds retry_delay);

// What of a message leaves the process, in a status or in a response: whole UTF-8 characters.
std::string TruncatedMessage(std::string_view message);

}  // namespace spade
