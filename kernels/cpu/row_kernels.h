#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/matmul_kernels.h"

namespace spade {

// Operations on one row; all pointers are to that row.
struct RowKernels {
  void (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t cols, float* out);
  void (*silu_mul)(const float* gate_up, int64_t cols, float* out);
  GateKernel gate_tile;  // with the bits of silu_mul

  // Normalises and rotates one head in place; weight: (head_dim) or null; angles: (head_dim),
  // cosines, then sines.
  void (*rope)(float* head, int64_t head_dim, const float* weight, float epsilon,
               const float* angles);

  void (*start_self)(const float* qkv, const HeadLayout& heads, const StartView& start, float* out);
};

const RowKernels& GetRowKernels(Isa isa);

}  // namespace spade
