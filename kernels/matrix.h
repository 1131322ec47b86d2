#pragma once

#include <cstdint>
#include <vector>

#include "kernels/buffer.h"
#include "kernels/dtype.h"

namespace spade {

// A weight matrix (rows, cols) in host memory, row-major, as checkpoints store it:
// rows = output features, cols = input features. F32, F16 or BF16.
struct HostMatrix {
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  DType dtype = DType::kF32;
};

inline float ElementAt(const HostMatrix& matrix, int64_t index) {
  switch (matrix.dtype) {
    case DType::kF16:
      return F16ToFloat(static_cast<const uint16_t*>(matrix.data)[index]);
    case DType::kBF16:
      return BF16ToFloat(static_cast<const uint16_t*>(matrix.data)[index]);
    default:
      return static_cast<const float*>(matrix.data)[index];
  }
}

// What part of a matrix each shard of a backend holds (Backend::shards): all of it, its share of
// the output features (rows), or its share of the input features (columns).
enum class Split { kNone, kOutputs, kInputs };

// A weight matrix in the layout that its backend's MatMul reads. The layout is private to the
// backend; only Backend::Pack makes one. `dtype` kI8 means signed 8-bit weights with one float
// scale per output feature and group of kInt8Group input features.
struct Matrix {
  int64_t out_features = 0;
  int64_t in_features = 0;
  DType dtype = DType::kF32;
  Buffer weights;
  Buffer scales;  // kI8 only
  // With several shards: what each holds, of the sizes above; the buffers are theirs.
  std::vector<Matrix> shards;
  Split split = Split::kNone;

  bool empty() const { return out_features == 0; }
  // Of all shards.
  size_t bytes() const {
    size_t sum = weights.size() + scales.size();
    for (const Matrix& shard : shards) sum += shard.bytes();
    return sum;
  }
};

// Inputs with one scale, of kI8 weights and, with Compute::kI8, of each row of x: a row's is its
// largest |x| of the group / 127, and its inputs are round(x * (127 / largest)), ties to even.
// A group below 2^-100 counts as zero.
inline constexpr int64_t kInt8Group = 64;

}  // namespace spade
