#include "tests/testing/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "tests/testing/rounding.h"

namespace spade::testing {
namespace {

float LoadElement(const void* data, int64_t index, DType dtype) {
  if (dtype == DType::kF32) return static_cast<const float*>(data)[index];
  const uint16_t bits = static_cast<const uint16_t*>(data)[index];
  return dtype == DType::kF16 ? F16ToFloat(bits) : BF16ToFloat(bits);
}

void StoreElement(void* data, int64_t index, DType dtype, float value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(data)[index] = value;
  } else {
    static_cast<uint16_t*>(data)[index] =
        dtype == DType::kF16 ? FloatToF16(value) : FloatToBF16(value);
  }
}

int64_t GroupsOf(const Matrix& weight) {
  return (weight.in_features + kInt8Group - 1) / kInt8Group;
}

double WeightAt(const Matrix& weight, int64_t row, int64_t col) {
  const int64_t index = row * weight.in_features + col;
  if (weight.dtype != DType::kI8) return LoadElement(weight.weights.data(), index, weight.dtype);
  const auto* scales = static_cast<const float*>(weight.scales.data());
  const auto* values = static_cast<const int8_t*>(weight.weights.data());
  return double{scales[row * GroupsOf(weight) + col / kInt8Group]} * values[index];
}

double Dot(const float* a, const float* b, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += double{a[i]} * b[i];
  return sum;
}

void QuantizeGroup(const std::vector<float>& values, float* scale, int8_t* out) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  *scale = largest / 127;
  for (size_t i = 0; i < values.size(); ++i) {
    out[i] = *scale == 0 ? 0 : static_cast<int8_t>(std::lround(values[i] / *scale));
  }
}

// Softmax-weighted sum of values (keys.size(), head_dim) for one query.
struct HeadKv {
  std::vector<std::vector<float>> keys;
  std::vector<std::vector<float>> values;
};

void AttendHead(const float* query, const HeadKv& kv, int64_t head_dim, float* out) {
  std::vector<double> scores;
  for (const auto& key : kv.keys) {
    scores.push_back(Dot(query, key.data(), head_dim) / std::sqrt(static_cast<double>(head_dim)));
  }
  const double largest = *std::ranges::max_element(scores);
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - largest);
  for (int64_t i = 0; i < head_dim; ++i) {
    double sum = 0;
    for (size_t k = 0; k < scores.size(); ++k) {
      sum += scores[k] * kv.values[k][static_cast<size_t>(i)];
    }
    out[i] = static_cast<float>(sum / total);
  }
}

class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(Compute compute) : compute_(compute) {}

  std::string_view name() const override { return "reference"; }
  std::string description() const override { return "reference: double-precision loops"; }

  absl::StatusOr<Buffer> Allocate(size_t bytes) override {
    const size_t rounded = (std::max<size_t>(bytes, 1) + 63) / 64 * 64;
    void* data = std::aligned_alloc(64, rounded);
    if (data == nullptr) return absl::ResourceExhaustedError("out of memory");
    std::memset(data, 0, rounded);
    return Buffer(data, bytes, [](void* memory, size_t) { std::free(memory); });
  }
  void CopyToHost(void* host, const void* device, size_t bytes) override {
    std::memcpy(host, device, bytes);
  }
  void CopyFromHost(void* device, const void* host, size_t bytes) override {
    std::memcpy(device, host, bytes);
  }
  void Synchronize() override {}
  const float* HostView(Tensor tensor) override { return static_cast<const float*>(tensor.data); }

  absl::StatusOr<Matrix> Pack(std::span<const HostMatrix> parts, DType dtype) override;
  void Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) override;
  void RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) override;
  void MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options, Tensor out) override;
  void MatMulColumns(Tensor x, const Matrix& weight, std::span<const int32_t> ids,
                     Tensor out) override;
  void RopeAngles(std::span<const int32_t> positions, std::span<const float> inv_freq,
                  Tensor angles) override;
  void Rope(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles) override;
  void StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv) override;
  void Attention(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv,
                 Tensor out) override;
  void StartSelfAttention(Tensor qkv, const HeadLayout& heads, StartView start,
                          Tensor out) override;
  void SiluMul(Tensor gate_up, Tensor out) override;
  void GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) override;
  void CopyRows(Tensor x, std::span<const int32_t> from, std::span<const int32_t> to,
                Tensor out) override;
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) override {
    for (int64_t i = 0; i < count; ++i) fn(i);
  }

 private:
  // x, rounded as products with `weight` take it.
  std::vector<float> Inputs(Tensor x, const Matrix& weight) const {
    std::vector<float> inputs(x.F32Row(0), x.F32Row(0) + x.rows * x.cols);
    const auto cols = static_cast<size_t>(x.cols);
    for (size_t first = 0; first < inputs.size(); first += cols) {
      RoundInputs({.compute = compute_}, weight.dtype, std::span(inputs).subspan(first, cols));
    }
    return inputs;
  }

  const Compute compute_;
};

absl::StatusOr<Matrix> ReferenceBackend::Pack(std::span<const HostMatrix> parts, DType dtype) {
  Matrix matrix;
  matrix.dtype = dtype;
  matrix.in_features = parts.front().cols;
  for (const HostMatrix& part : parts) matrix.out_features += part.rows;
  const int64_t count = matrix.out_features * matrix.in_features;
  auto weights = Allocate(static_cast<size_t>(count) * SizeOf(dtype));
  auto scales =
      Allocate(static_cast<size_t>(matrix.out_features * GroupsOf(matrix)) * sizeof(float));
  if (!weights.ok()) return weights.status();
  if (!scales.ok()) return scales.status();
  matrix.weights = *std::move(weights);
  if (dtype == DType::kI8) matrix.scales = *std::move(scales);

  int64_t row = 0;
  for (const HostMatrix& part : parts) {
    for (int64_t r = 0; r < part.rows; ++r, ++row) {
      for (int64_t c = 0; c < part.cols && dtype != DType::kI8; ++c) {
        StoreElement(matrix.weights.data(), row * part.cols + c, dtype,
                     LoadElement(part.data, r * part.cols + c, part.dtype));
      }
      for (int64_t first = 0; first < part.cols && dtype == DType::kI8; first += kInt8Group) {
        std::vector<float> values;
        for (int64_t c = first; c < std::min(part.cols, first + kInt8Group); ++c) {
          values.push_back(LoadElement(part.data, r * part.cols + c, part.dtype));
        }
        QuantizeGroup(
            values,
            static_cast<float*>(matrix.scales.data()) + row * GroupsOf(matrix) + first / kInt8Group,
            static_cast<int8_t*>(matrix.weights.data()) + row * part.cols + first);
      }
    }
  }
  return matrix;
}

void ReferenceBackend::Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) {
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) {
      out.F32Row(r)[c] = static_cast<float>(WeightAt(table, ids[static_cast<size_t>(r)], c));
    }
  }
}

void ReferenceBackend::RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* in = x.F32Row(r);
    const double mean = Dot(in, in, x.cols) / static_cast<double>(x.cols);
    const double scale = 1 / std::sqrt(mean + epsilon);
    for (int64_t c = 0; c < x.cols; ++c) {
      out.F32Row(r)[c] = static_cast<float>(in[c] * scale * weight[c]);
    }
  }
}

void ReferenceBackend::MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options,
                              Tensor out) {
  if (x.rows == 0) return;
  const std::vector<float> inputs = Inputs(x, weight);
  std::vector<double> column(static_cast<size_t>(x.cols));
  for (int64_t o = 0; o < weight.out_features; ++o) {
    for (int64_t i = 0; i < x.cols; ++i) column[static_cast<size_t>(i)] = WeightAt(weight, o, i);
    for (int64_t r = 0; r < x.rows; ++r) {
      double sum = options.bias == nullptr ? 0 : options.bias[o];
      const float* row = inputs.data() + r * x.cols;
      for (int64_t i = 0; i < x.cols; ++i) sum += row[i] * column[static_cast<size_t>(i)];
      out.F32Row(r)[o] = static_cast<float>(options.accumulate ? out.F32Row(r)[o] + sum : sum);
    }
  }
}

void ReferenceBackend::MatMulColumns(Tensor x, const Matrix& weight, std::span<const int32_t> ids,
                                     Tensor out) {
  if (x.rows == 0) return;
  const std::vector<float> inputs = Inputs(x, weight);
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* row = inputs.data() + r * x.cols;
    for (size_t k = 0; k < ids.size(); ++k) {
      double sum = 0;
      for (int64_t i = 0; i < x.cols; ++i) sum += row[i] * WeightAt(weight, ids[k], i);
      out.F32Row(r)[k] = static_cast<float>(sum);
    }
  }
}

void ReferenceBackend::RopeAngles(std::span<const int32_t> positions,
                                  std::span<const float> inv_freq, Tensor angles) {
  const auto half = static_cast<int64_t>(inv_freq.size());
  for (int64_t r = 0; r < angles.rows; ++r) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle =
          double{inv_freq[static_cast<size_t>(i)]} * positions[static_cast<size_t>(r)];
      angles.F32Row(r)[i] = static_cast<float>(std::cos(angle));
      angles.F32Row(r)[half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void ReferenceBackend::Rope(Tensor qkv, const HeadLayout& heads, const QkNorm& norm,
                            Tensor angles) {
  const int64_t half = heads.head_dim / 2;
  for (int64_t r = 0; r < qkv.rows; ++r) {
    for (int32_t h = 0; h < heads.q_heads + heads.kv_heads; ++h) {
      float* head = qkv.F32Row(r) + int64_t{h} * heads.head_dim;
      const float* weight = h < heads.q_heads ? norm.q_weight : norm.k_weight;
      if (weight != nullptr) {
        const Tensor row{head, 1, heads.head_dim, DType::kF32};
        RmsNorm(row, weight, norm.epsilon, row);
      }
      for (int64_t i = 0; i < half; ++i) {
        const double cosine = angles.F32Row(r)[i];
        const double sine = angles.F32Row(r)[half + i];
        const double a = head[i];
        const double b = head[half + i];
        head[i] = static_cast<float>(a * cosine - b * sine);
        head[half + i] = static_cast<float>(b * cosine + a * sine);
      }
    }
  }
}

// Index of the first element of (position, head) in a pool of blocks.
int64_t SlotOf(const BatchView& batch, int64_t row, int64_t position, int64_t head,
               const HeadLayout& heads, const KvView& kv) {
  const auto table = static_cast<size_t>(batch.sequences[static_cast<size_t>(row)]) *
                     static_cast<size_t>(batch.table_stride);
  const int64_t block = batch.block_tables[table + static_cast<size_t>(position / kv.block_size)];
  return ((block * heads.kv_heads + head) * kv.block_size + position % kv.block_size) *
         heads.head_dim;
}

void ReferenceBackend::StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch,
                               KvView kv) {
  for (int64_t r = 0; r < qkv.rows; ++r) {
    for (int32_t h = 0; h < heads.kv_heads; ++h) {
      const int64_t slot = SlotOf(batch, r, batch.positions[static_cast<size_t>(r)], h, heads, kv);
      const float* key = qkv.F32Row(r) + heads.q_cols() + int64_t{h} * heads.head_dim;
      for (int64_t i = 0; i < heads.head_dim; ++i) {
        StoreElement(kv.keys, slot + i, kv.dtype, key[i]);
        StoreElement(kv.values, slot + i, kv.dtype, key[heads.kv_cols() + i]);
      }
    }
  }
}

void ReferenceBackend::Attention(Tensor qkv, const HeadLayout& heads, const BatchView& batch,
                                 KvView kv, Tensor out) {
  const int64_t dim = heads.head_dim;
  for (int64_t r = 0; r < qkv.rows; ++r) {
    for (int32_t h = 0; h < heads.q_heads; ++h) {
      HeadKv seen;
      for (int64_t p = 0; p <= batch.positions[static_cast<size_t>(r)]; ++p) {
        const int64_t slot = SlotOf(batch, r, p, h / (heads.q_heads / heads.kv_heads), heads, kv);
        auto& key = seen.keys.emplace_back();
        auto& value = seen.values.emplace_back();
        for (int64_t i = 0; i < dim; ++i) {
          key.push_back(LoadElement(kv.keys, slot + i, kv.dtype));
          value.push_back(LoadElement(kv.values, slot + i, kv.dtype));
        }
      }
      AttendHead(qkv.F32Row(r) + h * dim, seen, dim, out.F32Row(r) + h * dim);
    }
  }
}

void ReferenceBackend::StartSelfAttention(Tensor qkv, const HeadLayout& heads, StartView start,
                                          Tensor out) {
  const int64_t dim = heads.head_dim;
  for (int64_t r = 0; r < qkv.rows; ++r) {
    for (int32_t h = 0; h < heads.q_heads; ++h) {
      const int64_t offset = h / (heads.q_heads / heads.kv_heads) * dim;
      const float* key = qkv.F32Row(r) + heads.q_cols() + offset;
      const float* value = key + heads.kv_cols();
      const HeadKv seen{
          {{start.keys + offset, start.keys + offset + dim}, {key, key + dim}},
          {{start.values + offset, start.values + offset + dim}, {value, value + dim}}};
      AttendHead(qkv.F32Row(r) + h * dim, seen, dim, out.F32Row(r) + h * dim);
    }
  }
}

void ReferenceBackend::SiluMul(Tensor gate_up, Tensor out) {
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) {
      const double gate = gate_up.F32Row(r)[c];
      const double up = gate_up.F32Row(r)[out.cols + c];
      out.F32Row(r)[c] = static_cast<float>(gate / (1 + std::exp(-gate)) * up);
    }
  }
}

void ReferenceBackend::GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) {
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memmove(out.F32Row(static_cast<int64_t>(i)), x.F32Row(rows[i]),
                 static_cast<size_t>(x.cols) * sizeof(float));
  }
}

void ReferenceBackend::CopyRows(Tensor x, std::span<const int32_t> from,
                                std::span<const int32_t> to, Tensor out) {
  for (size_t i = 0; i < from.size(); ++i)
    std::copy_n(x.F32Row(from[i]), x.cols, out.F32Row(to[i]));
}

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend(Compute compute) {
  return std::make_unique<ReferenceBackend>(compute);
}

}  // namespace spade::testing
