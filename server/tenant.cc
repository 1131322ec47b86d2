#include "server/tenant.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/field_check.h"

namespace spade {

bool IsTenantName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxTenantBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ||
                  c == '-';
         });
}

absl::StatusOr<std::string> TenantOf(const grpc::ServerContextBase& context) {
  const auto [first, last] = context.client_metadata().equal_range(kTenantKey);
  if (first == last) return std::string();
  if (std::next(first) != last) return FieldError(kTenantKey, "is given twice");
  const std::string_view name(first->second.data(), first->second.size());
  if (!IsTenantName(name)) {
    return FieldError(kTenantKey, absl::StrCat("must be 1 to ", kMaxTenantBytes,
                                               " letters, digits, '.', '_' or '-'"));
  }
  return std::string(name);
}

}  // namespace spade
