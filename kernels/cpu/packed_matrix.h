#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/check.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/matrix.h"

namespace spade {

// The CPU's weight layout, one for all instruction sets: panels of 16 output features; in a panel,
// pairs of input features (2p, 2p + 1); a pair is 32 elements. F32, F16, I8: the 16 even ones,
// then the 16 odd ones. BF16: 16 words of (even | odd << 16), which a shift and a mask expand to
// two float vectors without a permutation. Both features are padded with zeros.
// For products in I8, a panel of I8 holds quads of input features: 16 words of four bytes, each the
// weight + 128, as dot products of unsigned by signed bytes take them.
inline constexpr int64_t kPanelCols = 16;
inline constexpr int64_t kPairElements = 2 * kPanelCols;
inline constexpr int64_t kQuadElements = 4 * kPanelCols;
inline constexpr int32_t kQuadBias = 128;

// MatMul adds up each output in this order, whatever its path: per block of input features, a
// chain of fused multiply-adds over the even ones and one over the odd ones, both added to the
// total. In I8: per group, the exact integer sum, times both scales, added to the total. So a row
// has the same bits in any batch.
inline constexpr int64_t kBlockInputs = 256;
static_assert(kBlockInputs % kInt8Group == 0);

// A view of a Matrix that a backend with products in `compute` has packed.
struct PackedMatrix {
  PackedMatrix(const Matrix& matrix, Compute compute)
      : weights(matrix.weights.data()),
        scales(static_cast<const float*>(matrix.scales.data())),
        out_features(matrix.out_features),
        in_features(matrix.in_features),
        dtype(matrix.dtype),
        in_quads(matrix.dtype == DType::kI8 && compute == Compute::kI8) {}

  int64_t panels() const { return (out_features + kPanelCols - 1) / kPanelCols; }
  int64_t pairs() const { return (in_features + 1) / 2; }
  int64_t groups() const { return (in_features + kInt8Group - 1) / kInt8Group; }
  int64_t quads() const { return (in_features + 3) / 4; }
  int64_t panel_elements() const {
    return in_quads ? quads() * kQuadElements : pairs() * kPairElements;
  }

  // Index of a weight (BF16: in 16-bit units) and of its scale.
  int64_t ElementIndex(int64_t out, int64_t in) const {
    const int64_t lane = out % kPanelCols;
    if (in_quads) {
      return out / kPanelCols * panel_elements() + in / 4 * kQuadElements + lane * 4 + in % 4;
    }
    const int64_t parity = in % 2;
    const int64_t pair = out / kPanelCols * panel_elements() + in / 2 * kPairElements;
    return pair + (dtype == DType::kBF16 ? lane * 2 + parity : parity * kPanelCols + lane);
  }
  int64_t ScaleIndex(int64_t out, int64_t in) const {
    return (out / kPanelCols * groups() + in / kInt8Group) * kPanelCols + out % kPanelCols;
  }

  const void* weights;
  const float* scales;  // kI8: (panels, groups, 16)
  int64_t out_features;
  int64_t in_features;
  DType dtype;
  bool in_quads;
};

// The weight of output feature `out` and input feature `in`, as MatMul uses it.
inline float WeightAt(const PackedMatrix& matrix, int64_t out, int64_t in) {
  const int64_t i = matrix.ElementIndex(out, in);
  switch (matrix.dtype) {
    case DType::kF32:
      return static_cast<const float*>(matrix.weights)[i];
    case DType::kF16:
      return F16ToFloat(static_cast<const uint16_t*>(matrix.weights)[i]);
    case DType::kBF16:
      return BF16ToFloat(static_cast<const uint16_t*>(matrix.weights)[i]);
    case DType::kI8: {
      const int32_t steps = matrix.in_quads
                                ? static_cast<const uint8_t*>(matrix.weights)[i] - kQuadBias
                                : static_cast<const int8_t*>(matrix.weights)[i];
      return static_cast<float>(steps) * matrix.scales[matrix.ScaleIndex(out, in)];
    }
    case DType::kI32:
      break;
  }
  SPADE_CHECK(false);
  return 0;
}

// See Backend::Pack; the matrix lies in `arena`. INVALID_ARGUMENT for a weight that is not finite
// or does not fit `dtype`.
absl::StatusOr<Matrix> PackMatrix(std::span<const HostMatrix> parts, DType dtype, Compute compute,
                                  Arena& arena, ThreadPool& pool);

}  // namespace spade
