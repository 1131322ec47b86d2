#pragma once

#include <cstdint>

namespace spade {

using TokenId = int32_t;

}  // namespace spade
