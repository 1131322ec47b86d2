#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/statusor.h"

namespace spade {

inline constexpr char kTenantKey[] = "x-spade-tenant";
inline constexpr size_t kMaxTenantBytes = 64;

// The one place that says in whose name a call is made: the metadata's x-spade-tenant; empty where
// there is none. INVALID_ARGUMENT: not 1 to 64 of [A-Za-z0-9._-], or given twice.
absl::StatusOr<std::string> TenantOf(const grpc::ServerContextBase& context);

// Whether a name is one.
bool IsTenantName(std::string_view name);

}  // namespace spade
