#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/random_source.h"

namespace spade {

// The one place where a status leaves the process. Its details carry, of RESOURCE_EXHAUSTED, a
// google.rpc.RetryInfo with `retry_delay`, and a google.rpc.ErrorInfo where a reason was set.
grpc::Status ToGrpcStatus(const absl::Status& status, std::chrono::milliseconds retry_delay);

// When who was refused should try again: what the engine says, else a second, on average; spread,
// so that the refused do not come back all at once. A limit of the tenant's own says when it ends:
// before that, nothing.
std::chrono::milliseconds RetryDelay(const absl::Status& status, RandomSource* random);

// What of a message leaves the process, in a status or in a response: whole UTF-8 characters.
std::string TruncatedMessage(std::string_view message);

}  // namespace spade
