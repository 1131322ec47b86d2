#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace spade {

inline constexpr size_t kMaxTenantNameBytes = 64;

// Names are labels of metrics and parts of cache salts: letters, digits, '-', '_' and '.'.
inline bool IsTenantName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxTenantNameBytes &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

}  // namespace spade
