#pragma once

#include <string>
#include <string_view>

namespace spade {

// Lower-case hex SHA-256 of `bytes`: 64 characters.
std::string Sha256Hex(std::string_view bytes);

}  // namespace spade
