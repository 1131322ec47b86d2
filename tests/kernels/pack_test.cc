#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/device_test.h"

namespace spade::testing {
namespace {

using PackTest = DeviceTest;

constexpr int64_t kRows = 21;
constexpr int64_t kCols = 131;

TEST_P(PackTest, F32IsExact) {
  const std::vector<float> weights = RandomFloats(kRows * kCols, 1);
  EXPECT_EQ(Stored(Pack(weights, kRows, kCols, DType::kF32)), weights);
}

TEST_P(PackTest, BF16RoundsToNearest) {
  const std::vector<float> weights = RandomFloats(kRows * kCols, 2);
  const std::vector<float> stored = Stored(Pack(weights, kRows, kCols, DType::kBF16));
  for (size_t i = 0; i < weights.size(); ++i) {
    ASSERT_EQ(stored[i], BF16ToFloat(FloatToBF16(weights[i])));
  }
}

TEST_P(PackTest, F16RoundsToNearestEven) {
  // Ties, the largest value, subnormals and a value that rounds up into the normal range.
  const std::vector<float> weights = {
      1.0f,       1.0f + 0x1p-11f, 1.0f + 0x3p-11f,     -65504.0f, 0x1p-24f,
      0x1.8p-24f, -0x1p-26f,       0x1p-14f - 0x1p-26f, 0.1f};
  const std::vector<float> expected = {1.0f,     1.0f,  1.0f + 0x1p-9f, -65504.0f,  0x1p-24f,
                                       0x1p-23f, -0.0f, 0x1p-14f,       0x1.998p-4f};
  EXPECT_EQ(Stored(Pack(weights, 1, std::ssize(weights), DType::kF16)), expected);
}

TEST_P(PackTest, SixteenBitSourcesAreReadExactly) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<uint16_t> bits;
    for (uint32_t b = 0; b < 0x7c00; b += 7)
      bits.push_back(static_cast<uint16_t>(b | (b & 1) << 15));
    const HostMatrix part = {bits.data(), 1, std::ssize(bits), dtype};
    absl::StatusOr<Matrix> matrix = backend().Pack({&part, 1}, dtype);
    ASSERT_TRUE(matrix.ok());
    const std::vector<float> stored = Stored(*matrix);
    for (size_t i = 0; i < bits.size(); ++i) {
      ASSERT_EQ(stored[i], dtype == DType::kF16 ? F16ToFloat(bits[i]) : BF16ToFloat(bits[i]));
    }
  }
}

TEST_P(PackTest, Int8IsWithinHalfAStepOfEachGroup) {
  const std::vector<float> weights = RandomFloats(kRows * kCols, 3);
  const std::vector<float> stored = Stored(Pack(weights, kRows, kCols, DType::kI8));
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t begin = 0; begin < kCols; begin += kInt8Group) {
      const int64_t end = std::min(begin + kInt8Group, kCols);
      float largest = 0;
      for (int64_t i = begin; i < end; ++i) {
        largest = std::max(largest, std::fabs(weights[row * kCols + i]));
      }
      const float half_step = largest / 254.0f * 1.00001f;
      for (int64_t i = row * kCols + begin; i < row * kCols + end; ++i) {
        ASSERT_NEAR(stored[i], weights[i], half_step);
      }
    }
  }
}

TEST_P(PackTest, Int8KeepsZeroGroups) {
  const std::vector<float> zeros(2 * kInt8Group, 0.0f);
  EXPECT_EQ(Stored(Pack(zeros, 1, 2 * kInt8Group, DType::kI8)), zeros);
}

TEST_P(PackTest, StacksParts) {
  const std::vector<float> first = RandomFloats(19 * kCols, 4);
  const std::vector<float> second = RandomFloats(3 * kCols, 5);
  const HostMatrix parts[] = {{first.data(), 19, kCols, DType::kF32},
                              {second.data(), 3, kCols, DType::kF32}};
  absl::StatusOr<Matrix> matrix = backend().Pack(parts, DType::kF32);
  ASSERT_TRUE(matrix.ok());
  std::vector<float> expected = first;
  expected.insert(expected.end(), second.begin(), second.end());
  EXPECT_EQ(Stored(*matrix), expected);
}

TEST_P(PackTest, RefusesWeightsThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    std::vector<float> weights(70, 1.0f);
    weights[66] = bad;
    const HostMatrix part = {weights.data(), 1, 70, DType::kF32};
    EXPECT_EQ(backend().Pack({&part, 1}, DType::kI8).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_P(PackTest, RefusesWeightsTooLargeForF16) {
  const std::vector<float> weights = {1.0f, 70000.0f};
  const HostMatrix part = {weights.data(), 1, 2, DType::kF32};
  EXPECT_EQ(backend().Pack({&part, 1}, DType::kF16).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(PackTest, EmbedPicksRowsInOrder) {
  const std::vector<float> weights = RandomFloats(kRows * kCols, 6);
  const Matrix table = Pack(weights, kRows, kCols, DType::kF32);
  const std::vector<int32_t> ids = {20, 0, 7, 7};
  const DeviceTensor out = Empty(4, kCols);
  backend().Embed(table, ids, out.view());
  std::vector<float> expected;
  for (const int32_t id : ids) {
    expected.insert(expected.end(), weights.begin() + id * kCols,
                    weights.begin() + (id + 1) * kCols);
  }
  EXPECT_EQ(out.Read(), expected);
}

SPADE_DEVICE_SUITE(PackTest);

}  // namespace
}  // namespace spade::testing
