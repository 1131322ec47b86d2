#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/check.h"
#include "kernels/dtype.h"

namespace spade {

// A non-owning, dense, row-major view (rows, cols) of memory of one backend.
// A row is one token of one sequence; a vector is a tensor with one row.
struct Tensor {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  DType dtype = DType::kF32;

  size_t bytes() const { return static_cast<size_t>(rows * cols) * SizeOf(dtype); }

  // The `count` rows from `first` on.
  Tensor Slice(int64_t first, int64_t count) const {
    SPADE_DCHECK(first >= 0 && count >= 0 && first + count <= rows);
    auto* base = static_cast<std::byte*>(data) + static_cast<size_t>(first * cols) * SizeOf(dtype);
    return Tensor{base, count, cols, dtype};
  }

  // Typed access to row `row`; only for backends whose memory the host can read.
  float* F32Row(int64_t row) const {
    SPADE_DCHECK(dtype == DType::kF32 && row >= 0 && row < rows);
    return static_cast<float*>(data) + row * cols;
  }
};

}  // namespace spade
