// CudaBackend: weights and products.
#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/row_ops.h"

namespace spade {
namespace {

// Up to here reading the weights again for every cuda::kDirectRows rows costs less than converting
// them for cuBLAS.
constexpr int64_t kMaxRowsBeforeConverting = 32;

void CheckIds(std::span<const int32_t> ids, const Matrix& matrix) {
  for (const int32_t id : ids) SPADE_CHECK(id >= 0 && id < matrix.out_features);
}

size_t RowBytes(const HostMatrix& part) {
  return static_cast<size_t>(part.cols) * SizeOf(part.dtype);
}

}  // namespace

absl::StatusOr<Matrix> CudaBackend::Pack(std::span<const HostMatrix> parts, DType dtype) {
  SPADE_CHECK(!parts.empty() && dtype != DType::kI32);
  Matrix matrix;
  matrix.dtype = dtype;
  matrix.in_features = parts[0].cols;
  for (const HostMatrix& part : parts) {
    SPADE_CHECK(part.cols == matrix.in_features);
    matrix.out_features += part.rows;
  }
  const auto elements =
      static_cast<size_t>(matrix.out_features * cuda::WeightView::StrideOf(matrix.in_features));
  absl::StatusOr<Buffer> weights = cuda::AllocateDevice(elements * SizeOf(dtype));
  if (!weights.ok()) return weights.status();
  matrix.weights = *std::move(weights);
  if (dtype == DType::kI8) {
    absl::StatusOr<Buffer> scales = cuda::AllocateDevice(elements / kInt8Group * sizeof(float));
    if (!scales.ok()) return scales.status();
    matrix.scales = *std::move(scales);
  }
  cuda::CheckCuda(cudaMemsetAsync(unfit_flag_.data(), 0, sizeof(int32_t), stream_),
                  "clearing a flag");
  int64_t first_row = 0;
  for (const HostMatrix& part : parts) {
    PackPart(part, first_row, matrix);
    first_row += part.rows;
  }
  int32_t unfit = 0;
  CopyToHost(&unfit, unfit_flag_.data(), sizeof(unfit));
  if (unfit == 0) return matrix;
  return absl::InvalidArgumentError(absl::StrCat("a weight is not finite or too large for ",
                                                 std::string(NameOf(dtype)),
                                                 "; the file is damaged, or bf16 should be used"));
}

// As many rows at a time as scratch holds.
void CudaBackend::PackPart(const HostMatrix& part, int64_t first_row, Matrix& matrix) {
  const int64_t stride = cuda::WeightView::StrideOf(part.cols);
  const auto chunk = static_cast<int64_t>(scratch_.size() / RowBytes(part));
  SPADE_CHECK(chunk > 0);
  for (int64_t row = 0; row < part.rows; row += chunk) {
    const int64_t rows = std::min(chunk, part.rows - row);
    CopyFromHost(
        scratch_.data(),
        static_cast<const std::byte*>(part.data) + static_cast<size_t>(row) * RowBytes(part),
        static_cast<size_t>(rows) * RowBytes(part));
    cuda::PackArgs args = {scratch_.data(), part.dtype,   rows,
                           part.cols,       matrix.dtype, matrix.weights.data()};
    const int64_t offset = (first_row + row) * stride;
    args.weights = static_cast<std::byte*>(matrix.weights.data()) +
                   static_cast<size_t>(offset) * SizeOf(matrix.dtype);
    if (matrix.dtype == DType::kI8) {
      args.scales = static_cast<float*>(matrix.scales.data()) + offset / kInt8Group;
    }
    args.unfit_flag = static_cast<int32_t*>(unfit_flag_.data());
    cuda::PackRows(args, stream_);
  }
}

void CudaBackend::Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) {
  SPADE_CHECK(out.rows == std::ssize(ids) && out.cols == table.in_features);
  CheckIds(ids, table);
  if (ids.empty()) return;
  cuda::EmbedRows(cuda::WeightView(table), NextCourier().Send(ids), out.rows,
                  static_cast<float*>(out.data), stream_);
}

// The type that both inputs and weights of a product are multiplied in.
DType CudaBackend::InputType(const Matrix& weight) const {
  const bool in_bf16 = weight.dtype == DType::kBF16 || weight.dtype == DType::kI8;
  if (compute_ == Compute::kBF16 && in_bf16) return DType::kBF16;
  if (compute_ == Compute::kF16 && weight.dtype == DType::kF16) return DType::kF16;
  return DType::kF32;
}

bool CudaBackend::IsDirect(int64_t rows, const Matrix& weight) const {
  const bool converts = InputType(weight) != weight.dtype;
  return batch_invariant_ || rows <= (converts ? kMaxRowsBeforeConverting : cuda::kDirectRows);
}

void CudaBackend::MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options, Tensor out) {
  SPADE_CHECK(x.cols == weight.in_features && out.cols == weight.out_features);
  SPADE_CHECK(x.rows == out.rows && x.dtype == DType::kF32 && out.dtype == DType::kF32);
  const cuda::WeightView view(weight);
  if (x.rows == 0 || Notes(Operation::kMatMul, x, view, options.bias, options.accumulate, out)) {
    return;
  }
  auto* to = static_cast<float*>(out.data);
  const DType type = InputType(weight);
  if (IsDirect(x.rows, weight)) {
    cuda::DirectArgs args = {static_cast<const float*>(x.data), x.rows, type != DType::kF32};
    args.out_cols = out.cols;
    args.bias = options.bias;
    args.accumulate = options.accumulate;
    args.out = to;
    return cuda::MatMulDirect(view, args, stream_);
  }
  const bool has_bias = options.bias != nullptr;
  if (has_bias) {
    cuda::AddBias({options.bias, options.accumulate, out.rows, out.cols, to}, stream_);
  }
  const bool accumulate = options.accumulate || has_bias;
  if (type != DType::kF32) return MultiplyRounded(x, type, view, accumulate, out);
  MultiplyWidened(x, view, accumulate, out);
}

void CudaBackend::MatMulColumns(Tensor x, const Matrix& weight, std::span<const int32_t> ids,
                                Tensor out) {
  SPADE_CHECK(x.cols == weight.in_features && out.cols == std::ssize(ids));
  SPADE_CHECK(x.rows == out.rows && x.dtype == DType::kF32 && out.dtype == DType::kF32);
  CheckIds(ids, weight);
  if (x.rows == 0 || ids.empty()) return;
  const bool rounds = InputType(weight) != DType::kF32;
  cuda::DirectArgs args = {static_cast<const float*>(x.data), x.rows, rounds};
  args.column_ids = NextCourier().Send(ids);
  args.out_cols = out.cols;
  args.out = static_cast<float*>(out.data);
  cuda::MatMulDirect(cuda::WeightView(weight), args, stream_);
}

// Tensor cores: x is rounded, as many rows at a time as scratch holds; I8 weights too, in its other
// half. The padding is zeros in both: in_features may be the stride, which tensor cores like.
void CudaBackend::MultiplyRounded(Tensor x, DType type, const cuda::WeightView& weight,
                                  bool accumulate, Tensor out) {
  const int64_t stride = weight.stride();
  const bool converts = weight.dtype != type;
  const auto elements = static_cast<int64_t>(scratch_.size() / sizeof(uint16_t));
  const int64_t at_once = elements / stride / (converts ? 2 : 1);
  SPADE_CHECK(at_once > 0);
  auto* const rounded = static_cast<uint16_t*>(scratch_.data());
  uint16_t* const converted = rounded + at_once * stride;
  const auto* const stored = static_cast<const uint16_t*>(weight.data);
  const int64_t features_at_once = converts ? at_once : weight.out_features;
  for (int64_t row = 0; row < x.rows; row += at_once) {
    const Tensor part = x.Slice(row, std::min(at_once, x.rows - row));
    cuda::RoundRows(
        {type, static_cast<const float*>(part.data), part.rows, x.cols, stride, rounded}, stream_);
    float* const to = static_cast<float*>(out.Slice(row, part.rows).data);
    for (int64_t first = 0; first < weight.out_features; first += features_at_once) {
      const int64_t count = std::min(features_at_once, weight.out_features - first);
      if (converts) cuda::RoundWeights(weight, first, count, converted, stream_);
      gemm_->Multiply16(type,
                        {.rows = part.rows,
                         .out_features = count,
                         .in_features = stride,
                         .x_stride = stride,
                         .weight_stride = stride,
                         .out_stride = out.cols,
                         .accumulate = accumulate},
                        rounded, converts ? converted : stored, to + first);
    }
  }
}

// F32 products: weights of other types are widened, as many rows at a time as scratch holds.
void CudaBackend::MultiplyWidened(Tensor x, const cuda::WeightView& weight, bool accumulate,
                                  Tensor out) {
  cuda::Gemm::Shape shape = {.rows = x.rows,
                             .out_features = weight.out_features,
                             .in_features = x.cols,
                             .x_stride = x.cols,
                             .weight_stride = weight.stride(),
                             .out_stride = out.cols,
                             .accumulate = accumulate};
  const auto* from = static_cast<const float*>(x.data);
  auto* to = static_cast<float*>(out.data);
  if (weight.dtype == DType::kF32) {
    return gemm_->MultiplyF32(shape, from, static_cast<const float*>(weight.data), to);
  }
  auto* widened = static_cast<float*>(scratch_.data());
  const int64_t chunk = static_cast<int64_t>(scratch_.size() / sizeof(float)) / x.cols;
  SPADE_CHECK(chunk > 0);
  shape.weight_stride = x.cols;
  for (int64_t first = 0; first < weight.out_features; first += chunk) {
    shape.out_features = std::min(chunk, weight.out_features - first);
    cuda::WidenRows(weight, first, shape.out_features, widened, stream_);
    gemm_->MultiplyF32(shape, from, widened, to + first);
  }
}

}  // namespace spade
