#pragma once

#include <cstdint>

namespace spade {

using TokenId = int32_t;
inline constexpr TokenId kNoTokenId = -1;

}  // namespace spade
