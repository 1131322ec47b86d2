#include "server/field_check.h"

#include "absl/strings/str_cat.h"

namespace spade {

absl::Status FieldError(const std::string& field, const std::string& problem) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", problem));
}

absl::Status CheckRange(const std::string& field, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return FieldError(field, absl::StrCat("must be between ", low, " and ", high, ", not ", value));
}

absl::Status CheckCount(const std::string& field, uint64_t count, uint64_t max) {
  if (count <= max) return absl::OkStatus();
  return FieldError(field, absl::StrCat("at most ", max, " entries, not ", count));
}

absl::StatusOr<int32_t> CheckedInt32(const std::string& field, uint64_t value, int32_t low,
                                     int32_t high) {
  if (value <= static_cast<uint64_t>(high) && static_cast<int64_t>(value) >= low) {
    return static_cast<int32_t>(value);
  }
  return FieldError(field, absl::StrCat("must be between ", low, " and ", high, ", not ", value));
}

absl::StatusOr<TokenId> CheckedTokenId(const std::string& field, uint32_t id, int32_t vocab_size) {
  if (id < static_cast<uint32_t>(vocab_size)) return static_cast<TokenId>(id);
  return FieldError(field,
                    absl::StrCat("token id ", id, " is outside the vocabulary of ", vocab_size));
}

}  // namespace spade
