#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/statusor.h"

namespace spade {

inline constexpr char kTenantKey[] = "x-spade-tenant";

// In whose name a call says that it is made: the metadata's x-spade-tenant; empty where there is
// none. A token's name goes before it (RpcCall::Own). INVALID_ARGUMENT: no tenant name
// (server/auth/tenant_name.h), or given twice.
absl::StatusOr<std::string> TenantOf(const grpc::ServerContextBase& context);

}  // namespace spade
