#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"

namespace spade {

// Checks of one field of a request. Errors: INVALID_ARGUMENT, "<field>: what is allowed, what
// came".

absl::Status FieldError(const std::string& field, const std::string& problem);

// NaN is in no range.
absl::Status CheckRange(const std::string& field, double value, double low, double high);
absl::Status CheckCount(const std::string& field, uint64_t count, uint64_t max);
// 0 <= high.
absl::StatusOr<int32_t> CheckedInt32(const std::string& field, uint64_t value, int32_t low,
                                     int32_t high);
absl::StatusOr<TokenId> CheckedTokenId(const std::string& field, uint32_t id, int32_t vocab_size);

}  // namespace spade
