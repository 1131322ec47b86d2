#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/matrix.h"

namespace spade {

// Up to kInt8Group inputs of a row as matrix.h says: x = scale * steps. Scale is not finite where
// an x is not.
struct QuantizedGroup {
  alignas(64) int8_t steps[kInt8Group];  // zero behind a group's end
  int32_t sum;                           // of steps
  float scale;
};

using QuantizeGroup = void (*)(const float* x, int64_t inputs, QuantizedGroup* group);

// The same bits on every instruction set.
QuantizeGroup GetQuantizeGroup(Isa isa);

}  // namespace spade
