#include "tests/kernels/device_test.h"

#include <numeric>
#include <random>
#include <utility>

namespace spade::testing {

std::vector<float> RandomFloats(int64_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

DeviceTensor::DeviceTensor(Backend& backend, int64_t rows, int64_t cols) : backend_(backend) {
  view_ = {nullptr, rows, cols, DType::kF32};
  absl::StatusOr<Buffer> buffer = backend.Allocate(view_.bytes());
  EXPECT_TRUE(buffer.ok()) << buffer.status();
  buffer_ = *std::move(buffer);
  view_.data = buffer_.data();
}

DeviceTensor::DeviceTensor(Backend& backend, int64_t rows, int64_t cols,
                           const std::vector<float>& values)
    : DeviceTensor(backend, rows, cols) {
  EXPECT_EQ(std::ssize(values), rows * cols);
  backend.CopyFromHost(view_.data, values.data(), view_.bytes());
}

std::vector<float> DeviceTensor::Read() const {
  std::vector<float> values(view_.rows * view_.cols);
  backend_.CopyToHost(values.data(), view_.data, view_.bytes());
  return values;
}

void DeviceTest::SetUp() {
  absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend(GetParam().options);
  if (!backend.ok()) GTEST_SKIP() << backend.status();
  backend_ = *std::move(backend);
}

bool DeviceTest::IsBatchInvariant() const {
  const BackendOptions& options = GetParam().options;
  return options.device == "cpu" || options.batch_invariant;
}

bool DeviceTest::RoundsAttention(DType kv) const {
  const BackendOptions& options = GetParam().options;
  if (options.compute == Compute::kF32 || kv != DType::kBF16) return false;
  return options.device == "cpu" ? options.cpu_isa == "avx3_bf16" : !IsBatchInvariant();
}

Matrix DeviceTest::Pack(const std::vector<float>& values, int64_t rows, int64_t cols, DType dtype) {
  const HostMatrix part = {values.data(), rows, cols, DType::kF32};
  absl::StatusOr<Matrix> matrix = backend().Pack({&part, 1}, dtype);
  EXPECT_TRUE(matrix.ok()) << matrix.status();
  return *std::move(matrix);
}

std::vector<float> DeviceTest::Stored(const Matrix& matrix) {
  std::vector<int32_t> ids(matrix.out_features);
  std::iota(ids.begin(), ids.end(), 0);
  const DeviceTensor out = Empty(matrix.out_features, matrix.in_features);
  backend().Embed(matrix, ids, out.view());
  return out.Read();
}

std::vector<float> DeviceTest::MatMul(const std::vector<float>& x, int64_t rows,
                                      const Matrix& weight) {
  const DeviceTensor out = Empty(rows, weight.out_features);
  backend().MatMul(Upload(rows, weight.in_features, x).view(), weight, {}, out.view());
  return out.Read();
}

}  // namespace spade::testing
