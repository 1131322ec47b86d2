#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace spade {

// What one tenant may ask for at once; unset: no limit of its own.
struct TenantLimits {
  std::optional<int32_t> max_in_flight;       // requests
  std::optional<double> requests_per_second;  // on average; a second's worth may come at once

  friend bool operator==(const TenantLimits&, const TenantLimits&) = default;
};

struct TokenEntry {
  std::string tenant;
  std::string digest;  // lower-case hex SHA-256 of the token
  TenantLimits limits;
  bool admin = false;  // may see other tenants' requests
};

inline constexpr size_t kMaxTokenFileBytes = 1u << 20;
inline constexpr size_t kMaxTokens = 4096;

// Reads a token file: a token a line,
// `NAME SHA256 [max-in-flight=N] [requests-per-second=R] [admin]`;
// empty lines and those that begin with # say nothing. The lines of one NAME are the tokens of one
// tenant and share its limits, so they must state the same. INVALID_ARGUMENT names `path`, the line
// and what to write there; a file without a token is one, for it would shut everybody out.
absl::StatusOr<std::vector<TokenEntry>> ParseTokenFile(const std::string& path,
                                                       std::string_view text);

}  // namespace spade
