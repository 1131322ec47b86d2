#pragma once

#include <grpcpp/support/status.h>

#include <chrono>

#include "absl/status/status.h"

namespace spade {

// The one place where a status leaves the process. RESOURCE_EXHAUSTED carries a
// google.rpc.RetryInfo with `retry_delay` in its details.
grpc::Status ToGrpcStatus(const absl::Status& status, std::chrono::milliseconds retry_delay);

}  // namespace spade
