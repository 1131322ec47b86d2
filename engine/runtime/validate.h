#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "engine/runtime/request.h"

namespace spade {

inline constexpr int32_t kMaxSequences = 128;  // n of one request
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 256;  // of one stop string
inline constexpr size_t kMaxStopTokens = 256;
inline constexpr size_t kMaxLabels = 1024;
inline constexpr size_t kMaxLabelSequences = kMaxSequences;  // labels of several tokens

// What a request is checked against.
struct RequestLimits {
  int32_t vocab_size = 0;
  int32_t max_context = 0;  // positions of one sequence, prompt and output
};

// Everything a request can get wrong, checked on the caller's thread: INVALID_ARGUMENT names the
// field; DEADLINE_EXCEEDED where the deadline has passed.
absl::Status Validate(const GenerateRequest& request, const RequestLimits& limits);
absl::Status Validate(const DecideRequest& request, const RequestLimits& limits);

}  // namespace spade
