#include "tests/kernels/kv_fixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "tests/testing/rounding.h"

namespace spade::testing {

KvFixture::KvFixture(Backend& backend, const KvShape& shape, uint32_t seed)
    : backend_(backend), shape_(shape) {
  const int32_t longest = *std::max_element(shape.lengths.begin(), shape.lengths.end());
  table_stride_ = (longest + shape.block_size - 1) / shape.block_size + 1;
  tables_.resize(shape.lengths.size() * table_stride_);
  std::iota(tables_.begin(), tables_.end(), 0);
  std::shuffle(tables_.begin(), tables_.end(), std::mt19937(seed));
  for (const int32_t length : shape.lengths) {
    qkv_.push_back(RandomFloats(length * shape.heads.qkv_cols(), ++seed));
  }
  const size_t bytes =
      tables_.size() * shape.block_size * shape.heads.kv_cols() * SizeOf(shape.dtype);
  keys_ = *backend.Allocate(bytes);
  values_ = *backend.Allocate(bytes);
}

std::span<float> KvFixture::QkvOf(const Row& row) {
  const auto cols = static_cast<size_t>(shape_.heads.qkv_cols());
  return std::span(qkv_[row.sequence]).subspan(static_cast<size_t>(row.position) * cols, cols);
}

void KvFixture::Poison() {
  const std::vector<uint8_t> ones(keys_.size(), 0xff);
  backend_.CopyFromHost(keys_.data(), ones.data(), ones.size());
  backend_.CopyFromHost(values_.data(), ones.data(), ones.size());
}

void KvFixture::StoreAll() {
  const std::vector<Row> rows = AllRows();
  const DeviceTensor qkv(backend_, std::ssize(rows), shape_.heads.qkv_cols(), QkvOf(rows));
  backend_.StoreKv(qkv.view(), shape_.heads, View(rows),
                   {keys_.data(), values_.data(), shape_.dtype, shape_.block_size});
  backend_.Synchronize();
}

std::vector<float> KvFixture::Attend(const std::vector<Row>& rows) {
  const DeviceTensor qkv(backend_, std::ssize(rows), shape_.heads.qkv_cols(), QkvOf(rows));
  const DeviceTensor out(backend_, std::ssize(rows), shape_.heads.q_cols());
  backend_.Attention(qkv.view(), shape_.heads, View(rows),
                     {keys_.data(), values_.data(), shape_.dtype, shape_.block_size}, out.view());
  return out.Read();
}

std::vector<KvFixture::Row> KvFixture::AllRows() const {
  std::vector<Row> rows;
  for (int32_t s = 0; s < std::ssize(shape_.lengths); ++s) {
    for (int32_t p = 0; p < shape_.lengths[s]; ++p) rows.push_back({s, p});
  }
  return rows;
}

std::vector<double> KvFixture::Reference(const Row& row) const {
  const HeadLayout& heads = shape_.heads;
  const int64_t dim = heads.head_dim;
  const auto stored = [&](float value) {
    return shape_.dtype == DType::kBF16 ? NearestBF16(value) : value;
  };
  std::vector<double> out(heads.q_cols());
  for (int32_t head = 0; head < heads.q_heads; ++head) {
    const int64_t key_at = heads.q_cols() + head / (heads.q_heads / heads.kv_heads) * dim;
    const float* query = RowAt(row) + head * dim;
    std::vector<double> weights;
    for (int32_t p = 0; p <= row.position; ++p) {
      const float* key = RowAt({row.sequence, p}) + key_at;
      double dot = 0;
      for (int64_t i = 0; i < dim; ++i) dot += double{query[i]} * stored(key[i]);
      weights.push_back(dot / std::sqrt(static_cast<double>(dim)));
    }
    const double max = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - max);
    for (int32_t p = 0; p <= row.position; ++p) {
      const float* value = RowAt({row.sequence, p}) + key_at + heads.kv_cols();
      for (int64_t i = 0; i < dim; ++i) out[head * dim + i] += weights[p] / sum * stored(value[i]);
    }
  }
  return out;
}

std::vector<float> KvFixture::QkvOf(const std::vector<Row>& rows) const {
  std::vector<float> qkv;
  for (const Row& row : rows) {
    qkv.insert(qkv.end(), RowAt(row), RowAt(row) + shape_.heads.qkv_cols());
  }
  return qkv;
}

const float* KvFixture::RowAt(const Row& row) const {
  return qkv_[row.sequence].data() + row.position * shape_.heads.qkv_cols();
}

BatchView KvFixture::View(const std::vector<Row>& rows) {
  positions_.clear();
  sequences_.clear();
  for (const Row& row : rows) {
    positions_.push_back(row.position);
    sequences_.push_back(row.sequence);
  }
  return {positions_, sequences_, tables_, table_stride_};
}

}  // namespace spade::testing
