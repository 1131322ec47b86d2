#include "server/tenant.h"

#include <iterator>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "server/auth/tenant_name.h"
#include "server/field_check.h"

namespace spade {

absl::StatusOr<std::string> TenantOf(const grpc::ServerContextBase& context) {
  const auto [first, last] = context.client_metadata().equal_range(kTenantKey);
  if (first == last) return std::string();
  if (std::next(first) != last) return FieldError(kTenantKey, "is given twice");
  const std::string_view name(first->second.data(), first->second.size());
  if (!IsTenantName(name)) {
    return FieldError(kTenantKey, absl::StrCat("must be 1 to ", kMaxTenantNameBytes,
                                               " letters, digits, '.', '_' or '-'"));
  }
  return std::string(name);
}

}  // namespace spade
