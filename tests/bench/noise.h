#pragma once

#include <cstdint>

namespace spade::bench {

// Numbers in [-1, 1), the same every time. Operands are to be like a model's: constants and zeros
// cost a GPU less power, which makes it faster.
class Noise {
 public:
  float Next() {
    state_ = state_ * 1664525 + 1013904223;
    return static_cast<float>(state_ >> 8) * 0x1p-23f - 1;
  }

 private:
  uint32_t state_ = 1;
};

}  // namespace spade::bench
