#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/packed_matrix.h"

namespace spade {
namespace {

// Rounds to nearest even; |value| <= kMaxF16.
uint16_t FloatToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude < 0x38800000u) {  // below 2^-14: subnormal, in units of 2^-24
    const float units = std::bit_cast<float>(magnitude) * 0x1p24f;
    return sign | static_cast<uint16_t>(std::nearbyint(units));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

// Copies weights [begin, begin + count) of a row; a checkpoint may leave them unaligned.
void ReadFloats(const HostMatrix& part, int64_t row, int64_t begin, int64_t count, float* to) {
  const int64_t first = row * part.cols + begin;
  const auto* from = static_cast<const std::byte*>(part.data) + first * SizeOf(part.dtype);
  if (part.dtype == DType::kF32) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  uint16_t bits[kInt8Group];
  std::memcpy(bits, from, count * sizeof(uint16_t));
  if (part.dtype == DType::kF16) {
    for (int64_t i = 0; i < count; ++i) to[i] = F16ToFloat(bits[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = BF16ToFloat(bits[i]);
  }
}

// Writes rows of float weights to one packed matrix. Thread-safe for different outputs.
class PanelWriter {
 public:
  PanelWriter(Matrix& matrix, Compute compute)
      : view_(matrix, compute), weights_(matrix.weights.data()), scales_(matrix.scales.data()) {}

  // False where a weight is not finite or does not fit.
  bool WriteOutput(int64_t out, const HostMatrix& part, int64_t row) const {
    const float limit = view_.dtype == DType::kF16 ? kMaxF16 : std::numeric_limits<float>::max();
    float values[kInt8Group];
    for (int64_t begin = 0; begin < view_.in_features; begin += kInt8Group) {
      const int64_t count = std::min(kInt8Group, view_.in_features - begin);
      ReadFloats(part, row, begin, count, values);
      float largest = 0;
      for (int64_t i = 0; i < count; ++i) {
        if (!(std::fabs(values[i]) <= limit)) return false;  // NaN included
        largest = std::max(largest, std::fabs(values[i]));
      }
      WriteGroup(out, begin, {values, static_cast<size_t>(count)}, largest / 127.0f);
    }
    return true;
  }

 private:
  void WriteGroup(int64_t out, int64_t begin, std::span<const float> values, float scale) const {
    switch (view_.dtype) {
      case DType::kF32:
        return Write<float>(out, begin, values, [](float value) { return value; });
      case DType::kF16:
        return Write<uint16_t>(out, begin, values, &FloatToF16);
      case DType::kBF16:
        return Write<uint16_t>(out, begin, values, &FloatToBF16);
      default:
        static_cast<float*>(scales_)[view_.ScaleIndex(out, begin)] = scale;
        if (view_.in_quads) return WriteQuads(out, begin, values, scale);
        return Write<int8_t>(out, begin, values, [scale](float value) {
          return static_cast<int8_t>(Steps(value, scale));
        });
    }
  }

  static int32_t Steps(float value, float scale) {
    const float steps = scale > 0 ? std::nearbyint(value / scale) : 0.0f;
    return static_cast<int32_t>(std::clamp(steps, -127.0f, 127.0f));
  }

  // A group begins at a quad.
  void WriteQuads(int64_t out, int64_t begin, std::span<const float> values, float scale) const {
    auto* to = static_cast<uint8_t*>(weights_) + view_.ElementIndex(out, begin);
    for (size_t i = 0; i < values.size(); ++i) {
      to[i / 4 * kQuadElements + i % 4] = static_cast<uint8_t>(Steps(values[i], scale) + kQuadBias);
    }
  }

  template <class Element, class Convert>
  void Write(int64_t out, int64_t begin, std::span<const float> values,
             const Convert& convert) const {
    // A group begins at a pair, and pairs are equally far apart.
    Element* to = static_cast<Element*>(weights_);
    const int64_t even = view_.ElementIndex(out, begin);
    const int64_t odd = view_.ElementIndex(out, begin + 1);
    for (size_t i = 0; i < values.size(); ++i) {
      to[(i % 2 == 0 ? even : odd) + i / 2 * kPairElements] = convert(values[i]);
    }
  }

  PackedMatrix view_;
  void* weights_;
  void* scales_;
};

struct PartRow {
  const HostMatrix* part;
  int64_t row;
};

PartRow FindRow(std::span<const HostMatrix> parts, int64_t out) {
  size_t part = 0;
  while (out >= parts[part].rows) out -= parts[part++].rows;
  return {&parts[part], out};
}

absl::StatusOr<Matrix> AllocateMatrix(std::span<const HostMatrix> parts, DType dtype,
                                      Compute compute, Arena& arena) {
  SPADE_CHECK(!parts.empty());
  SPADE_CHECK(dtype != DType::kI32);
  Matrix matrix;
  matrix.dtype = dtype;
  matrix.in_features = parts[0].cols;
  for (const HostMatrix& part : parts) {
    SPADE_CHECK(part.cols == matrix.in_features);
    SPADE_CHECK(SizeOf(part.dtype) == 2 || part.dtype == DType::kF32);
    matrix.out_features += part.rows;
  }
  const PackedMatrix view(matrix, compute);
  const size_t elements = static_cast<size_t>(view.panels() * view.panel_elements());
  absl::StatusOr<Buffer> weights = arena.Allocate(elements * SizeOf(dtype));
  if (!weights.ok()) return weights.status();
  matrix.weights = *std::move(weights);
  if (dtype != DType::kI8) return matrix;
  const size_t num_scales = static_cast<size_t>(view.panels() * view.groups() * kPanelCols);
  absl::StatusOr<Buffer> scales = arena.Allocate(num_scales * sizeof(float));
  if (!scales.ok()) return scales.status();
  matrix.scales = *std::move(scales);
  return matrix;
}

}  // namespace

absl::StatusOr<Matrix> PackMatrix(std::span<const HostMatrix> parts, DType dtype, Compute compute,
                                  Arena& arena, ThreadPool& pool) {
  absl::StatusOr<Matrix> matrix = AllocateMatrix(parts, dtype, compute, arena);
  if (!matrix.ok()) return matrix.status();
  const PanelWriter writer(*matrix, compute);
  const int64_t out_features = matrix->out_features;
  std::atomic<bool> fits{true};
  pool.Run(PackedMatrix(*matrix, compute).panels(), [&](int64_t panel, int32_t) {
    const int64_t end = std::min((panel + 1) * kPanelCols, out_features);
    for (int64_t out = panel * kPanelCols; out < end; ++out) {
      const PartRow source = FindRow(parts, out);
      if (!writer.WriteOutput(out, *source.part, source.row)) fits.store(false);
    }
  });
  if (fits.load()) return matrix;
  return absl::InvalidArgumentError(absl::StrCat("a weight is not finite or too large for ",
                                                 std::string(NameOf(dtype)),
                                                 "; the file is damaged, or bf16 should be used"));
}

}  // namespace spade
