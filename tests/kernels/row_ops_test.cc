#include <cmath>

#include "tests/kernels/device_test.h"

namespace spade::testing {
namespace {

using RowOpsTest = DeviceTest;

std::vector<double> NormalizedRow(const float* x, const std::vector<float>& weight, float epsilon) {
  double squares = 0;
  for (size_t i = 0; i < weight.size(); ++i) squares += double{x[i]} * x[i];
  const double scale = 1 / std::sqrt(squares / static_cast<double>(weight.size()) + epsilon);
  std::vector<double> out(weight.size());
  for (size_t i = 0; i < weight.size(); ++i) out[i] = x[i] * scale * weight[i];
  return out;
}

TEST_P(RowOpsTest, RmsNormEqualsDoubleReference) {
  for (const int64_t cols : {1, 7, 64, 195, 2048}) {
    for (const int64_t rows : {1, 33}) {
      const std::vector<float> x = RandomFloats(rows * cols, 1, 3.0f);
      const std::vector<float> weight = RandomFloats(cols, 2);
      const DeviceTensor device_weight = Upload(1, cols, weight);
      const DeviceTensor out = Empty(rows, cols);
      backend().RmsNorm(Upload(rows, cols, x).view(), device_weight.data(), 1e-5f, out.view());
      const std::vector<float> actual = out.Read();
      for (int64_t row = 0; row < rows; ++row) {
        const std::vector<double> expected = NormalizedRow(&x[row * cols], weight, 1e-5f);
        for (int64_t i = 0; i < cols; ++i) {
          ASSERT_NEAR(actual[row * cols + i], expected[i], 2e-6 * std::fabs(expected[i]));
        }
      }
    }
  }
}

TEST_P(RowOpsTest, RmsNormInPlaceEqualsOutOfPlace) {
  const DeviceTensor weight = Upload(1, 100, RandomFloats(100, 3));
  const DeviceTensor x = Upload(2, 100, RandomFloats(200, 4));
  const DeviceTensor out = Empty(2, 100);
  backend().RmsNorm(x.view(), weight.data(), 1e-6f, out.view());
  backend().RmsNorm(x.view(), weight.data(), 1e-6f, x.view());
  EXPECT_EQ(x.Read(), out.Read());
}

TEST_P(RowOpsTest, SiluMulEqualsDoubleReference) {
  for (const int64_t cols : {1, 13, 512, 5632}) {
    const int64_t rows = 3;
    std::vector<float> x = RandomFloats(rows * 2 * cols, 5, 4.0f);
    x[0] = 100.0f;  // saturates
    x[2 * cols] = -200.0f;
    const DeviceTensor out = Empty(rows, cols);
    backend().SiluMul(Upload(rows, 2 * cols, x).view(), out.view());
    const std::vector<float> actual = out.Read();
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < cols; ++i) {
        const double gate = x[row * 2 * cols + i];
        const double expected = gate / (1 + std::exp(-gate)) * x[row * 2 * cols + cols + i];
        ASSERT_NEAR(actual[row * cols + i], expected, 1e-6 * std::fabs(expected) + 1e-30);
      }
    }
  }
}

TEST_P(RowOpsTest, RopeAnglesAreOfTheFloatProduct) {
  const std::vector<int32_t> positions = {0, 1, 77, 131071};
  const std::vector<float> inv_freq = {1.0f, 0.1f, 0.0123f, 1e-4f};
  const DeviceTensor angles = Empty(4, 8);
  backend().RopeAngles(positions, inv_freq, angles.view());
  const std::vector<float> actual = angles.Read();
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t i = 0; i < 4; ++i) {
      const float angle = static_cast<float>(positions[row]) * inv_freq[i];
      EXPECT_NEAR(actual[row * 8 + i], std::cos(double{angle}), 1e-6);
      EXPECT_NEAR(actual[row * 8 + 4 + i], std::sin(double{angle}), 1e-6);
    }
  }
}

class RopeTest : public DeviceTest {
 protected:
  // Rotates a random row of `heads`, with or without norms, and compares all columns.
  void ExpectRotation(const HeadLayout& heads, bool normalize) {
    const int64_t dim = heads.head_dim;
    const std::vector<float> qkv = RandomFloats(3 * heads.qkv_cols(), 6);
    const std::vector<float> weights[] = {RandomFloats(dim, 7), RandomFloats(dim, 8)};
    const std::vector<float> angles = RandomFloats(3 * dim, 9);
    const DeviceTensor device_qkv = Upload(3, heads.qkv_cols(), qkv);
    const DeviceTensor q_weight = Upload(1, dim, weights[0]);
    const DeviceTensor k_weight = Upload(1, dim, weights[1]);
    QkNorm norm;
    if (normalize) norm = {q_weight.data(), k_weight.data(), 1e-6f};
    backend().Rope(device_qkv.view(), heads, norm, Upload(3, dim, angles).view());
    const std::vector<float> actual = device_qkv.Read();
    for (int64_t row = 0; row < 3; ++row) {
      for (int32_t head = 0; head < heads.q_heads + 2 * heads.kv_heads; ++head) {
        const int64_t at = row * heads.qkv_cols() + head * dim;
        std::vector<double> expected(qkv.begin() + at, qkv.begin() + at + dim);
        if (head < heads.q_heads + heads.kv_heads) {
          if (normalize) expected = NormalizedRow(&qkv[at], weights[head >= heads.q_heads], 1e-6f);
          expected = Rotated(expected, &angles[row * dim]);
        }
        for (int64_t i = 0; i < dim; ++i) ASSERT_NEAR(actual[at + i], expected[i], 1e-5);
      }
    }
  }

 private:
  static std::vector<double> Rotated(const std::vector<double>& x, const float* angles) {
    const size_t half = x.size() / 2;
    std::vector<double> out(x.size());
    for (size_t i = 0; i < half; ++i) {
      out[i] = x[i] * angles[i] - x[half + i] * angles[half + i];
      out[half + i] = x[half + i] * angles[i] + x[i] * angles[half + i];
    }
    return out;
  }
};

TEST_P(RopeTest, RotatesQueriesAndKeysOnly) { ExpectRotation({3, 1, 64}, /*normalize=*/false); }

TEST_P(RopeTest, NormalizesHeadsFirst) { ExpectRotation({4, 2, 128}, /*normalize=*/true); }

TEST_P(RopeTest, RotatesOddHeadSizes) { ExpectRotation({2, 2, 8}, /*normalize=*/true); }

TEST_P(RowOpsTest, GatherRowsPicksRows) {
  const DeviceTensor out = Empty(3, 2);
  const std::vector<int32_t> rows = {3, 0, 3};
  backend().GatherRows(Upload(4, 2, {0, 1, 2, 3, 4, 5, 6, 7}).view(), rows, out.view());
  EXPECT_EQ(out.Read(), (std::vector<float>{6, 7, 0, 1, 6, 7}));
}

TEST_P(RowOpsTest, CopyRowsLeavesTheOthers) {
  const std::vector<int32_t> from = {3, 0};
  const std::vector<int32_t> to = {0, 2};
  const DeviceTensor out = Upload(3, 2, {90, 91, 92, 93, 94, 95});
  backend().CopyRows(Upload(4, 2, {0, 1, 2, 3, 4, 5, 6, 7}).view(), from, to, out.view());
  EXPECT_EQ(out.Read(), (std::vector<float>{6, 7, 92, 93, 0, 1}));
}

TEST_P(RowOpsTest, GatherRowsCompactsInPlace) {
  const DeviceTensor x = Upload(4, 2, {0, 1, 2, 3, 4, 5, 6, 7});
  const std::vector<int32_t> rows = {0, 2, 3};
  backend().GatherRows(x.view(), rows, x.view().Slice(0, 3));
  EXPECT_EQ(x.Read(), (std::vector<float>{0, 1, 4, 5, 6, 7, 6, 7}));
}

SPADE_DEVICE_SUITE(RowOpsTest);
SPADE_DEVICE_SUITE(RopeTest);

}  // namespace
}  // namespace spade::testing
