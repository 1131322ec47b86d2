#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/matrix.h"

// Weight matrices on the GPU: row-major (out_features, stride) of the stored type, the columns from
// in_features on zero, so that rows start on 128 bytes or (int8) 64. kI8 has F32 scales
// (out_features, stride / kInt8Group) beside it.

namespace spade::cuda {

struct WeightView {
  explicit WeightView(const Matrix& matrix)
      : data(matrix.weights.data()),
        scales(static_cast<const float*>(matrix.scales.data())),
        dtype(matrix.dtype),
        out_features(matrix.out_features),
        in_features(matrix.in_features) {}

  static constexpr int64_t StrideOf(int64_t in_features) {
    return (in_features + kInt8Group - 1) / kInt8Group * kInt8Group;
  }
  constexpr int64_t stride() const { return StrideOf(in_features); }

  const void* data;
  const float* scales;  // kI8 only
  DType dtype;
  int64_t out_features;
  int64_t in_features;
};

// Rounds `rows` rows of a source matrix to their stored form.
struct PackArgs {
  const void* source = nullptr;  // (rows, cols) of source_dtype, device memory
  DType source_dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  DType dtype = DType::kF32;
  void* weights = nullptr;        // (rows, stride)
  float* scales = nullptr;        // kI8 only: (rows, stride / kInt8Group)
  int32_t* unfit_flag = nullptr;  // set to 1 where a weight is not finite or too large for dtype
};
void PackRows(const PackArgs& args, cudaStream_t stream);

// out(i, :) = table(ids[i], :).
void EmbedRows(const WeightView& table, const int32_t* ids, int64_t count, float* out,
               cudaStream_t stream);

// out(r, :) = weight(first + r, :) in F32: (rows, in_features).
void WidenRows(const WeightView& weight, int64_t first, int64_t rows, float* out,
               cudaStream_t stream);

// out(r, :) = an I8 weight(first + r, :), with its zeros, times its scales in BF16: (rows, stride).
void RoundWeights(const WeightView& weight, int64_t first, int64_t rows, uint16_t* out,
                  cudaStream_t stream);

// Rows of F32 rounded to F16 (what is too large: to its largest) or BF16, each padded with zeros to
// `stride`.
struct RoundArgs {
  DType type = DType::kBF16;
  const float* x = nullptr;  // (rows, cols)
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  uint16_t* out = nullptr;  // (rows, stride)
};
void RoundRows(const RoundArgs& args, cudaStream_t stream);

// out = x W^T (+ bias) (+ out) by kernels that stream the weights and sum in F32, in an order that
// neither the number of rows nor the columns asked for change. For few rows: the weights are read
// once for every kDirectRows of them.
inline constexpr int64_t kDirectRows = 8;
struct DirectArgs {
  const float* x = nullptr;  // (rows, in_features)
  int64_t rows = 0;
  bool round = false;  // inputs, to F16 with F16 weights, else to BF16, and I8 weights with them
  const int32_t* column_ids = nullptr;  // (out_cols); null: the first out_cols
  int64_t out_cols = 0;
  const float* bias = nullptr;  // (out_cols)
  bool accumulate = false;
  float* out = nullptr;  // (rows, out_cols)
};
void MatMulDirect(const WeightView& weight, const DirectArgs& args, cudaStream_t stream);

}  // namespace spade::cuda
