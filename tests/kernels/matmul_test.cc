#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "tests/kernels/device_test.h"
#include "tests/testing/rounding.h"

namespace spade::testing {
namespace {

struct Shape {
  int64_t rows;
  int64_t in;
  int64_t out;
};

// Single rows, both paths, partial tiles; sizes that divide neither panels, pairs nor blocks.
constexpr Shape kShapes[] = {{1, 64, 16},  {1, 257, 33},   {2, 515, 48},  {3, 63, 5},
                             {4, 300, 47}, {5, 1, 1},      {7, 129, 31},  {33, 259, 70},
                             {1, 192, 96}, {33, 512, 192}, {250, 70, 20}, {245, 600, 40}};

class MatMulTest : public DeviceTest {
 protected:
  // Of an int8 product: its rounding of an input, or of a weight times an input, at most; relative
  // to the largest of a group.
  static double Int8Rounding() {
    const BackendOptions& options = GetParam().options;
    if (!Suits(options, options.compute, DType::kI8)) return 0;
    if (options.compute == Compute::kI8) return 0.5 / 127;
    return options.compute == Compute::kBF16 ? 0x1.01p-8 : 0;
  }

  // x, in rows of `in`, as a product with weights of this type takes it.
  std::vector<float> Rounded(std::vector<float> x, int64_t in, DType weights) {
    for (int64_t first = 0; first < std::ssize(x); first += in) {
      RoundInputs(GetParam().options, weights, std::span(x).subspan(first, in));
    }
    return x;
  }
  std::vector<float> WeightsOf(const Matrix& matrix) {
    std::vector<float> weights = Stored(matrix);
    RoundWeights(GetParam().options, matrix.dtype, weights);
    return weights;
  }

  // Within float rounding of the sum computed in double precision from the stored weights.
  void ExpectProduct(const Shape& shape, const std::vector<float>& x,
                     const std::vector<float>& weights, const std::vector<float>& start,
                     const std::vector<float>& out) {
    for (int64_t row = 0; row < shape.rows; ++row) {
      for (int64_t col = 0; col < shape.out; ++col) {
        double sum = start.empty() ? 0 : start[row * shape.out + col];
        double magnitude = std::fabs(sum);
        for (int64_t i = 0; i < shape.in; ++i) {
          const double product = double{x[row * shape.in + i]} * weights[col * shape.in + i];
          sum += product;
          magnitude += std::fabs(product);
        }
        ASSERT_NEAR(out[row * shape.out + col], sum, 1e-6 * magnitude)
            << "row " << row << " col " << col << " of (" << shape.rows << ", " << shape.in
            << ") x (" << shape.out << ")";
      }
    }
  }
};

TEST_P(MatMulTest, EqualsDoubleReferenceForAllTypesAndShapes) {
  for (const DType dtype : kWeightTypes) {
    SCOPED_TRACE(NameOf(dtype));
    for (const Shape& shape : kShapes) {
      const std::vector<float> x = RandomFloats(shape.rows * shape.in, 1);
      const Matrix weight =
          Pack(RandomFloats(shape.out * shape.in, 2, 0.05f), shape.out, shape.in, dtype);
      ExpectProduct(shape, Rounded(x, shape.in, dtype), WeightsOf(weight), {},
                    MatMul(x, shape.rows, weight));
    }
  }
}

TEST_P(MatMulTest, AddsBiasAndAccumulates) {
  for (const auto& [rows, dtype] : {std::pair<int64_t, DType>{1, DType::kF32},
                                    {5, DType::kF32},
                                    {5, DType::kBF16},
                                    {5, DType::kI8},
                                    {40, DType::kI8}}) {
    const Shape shape = {rows, 80, 37};
    const std::vector<float> x = RandomFloats(rows * shape.in, 3);
    const std::vector<float> bias = RandomFloats(shape.out, 4);
    const std::vector<float> before = RandomFloats(rows * shape.out, 5);
    const Matrix weight = Pack(RandomFloats(shape.out * shape.in, 6), shape.out, shape.in, dtype);
    const DeviceTensor device_bias = Upload(1, shape.out, bias);
    const DeviceTensor out = Upload(rows, shape.out, before);
    backend().MatMul(Upload(rows, shape.in, x).view(), weight,
                     {.bias = device_bias.data(), .accumulate = true}, out.view());
    std::vector<float> start = before;
    for (size_t i = 0; i < start.size(); ++i) start[i] += bias[i % shape.out];
    ExpectProduct(shape, Rounded(x, shape.in, dtype), WeightsOf(weight), start, out.Read());
  }
}

TEST_P(MatMulTest, OverwritesWithoutAccumulate) {
  const Matrix weight = Pack({1, 2, 3, 4}, 2, 2, DType::kF32);
  const DeviceTensor out = Upload(1, 2, {100, 100});
  backend().MatMul(Upload(1, 2, {1, 1}).view(), weight, {}, out.view());
  EXPECT_EQ(out.Read(), (std::vector<float>{3, 7}));
}

TEST_P(MatMulTest, ColumnsEqualTheSameColumnsOfMatMulToTheBit) {
  if (!IsBatchInvariant()) GTEST_SKIP() << "products are a library's";
  const std::vector<int32_t> ids = {69, 0, 3, 3, 17, 44, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 68};
  const int64_t in = 299;
  const int64_t out_features = 70;
  for (const DType dtype : kWeightTypes) {
    const Matrix weight = Pack(RandomFloats(out_features * in, 7), out_features, in, dtype);
    for (const int64_t rows : {1, 4, 9}) {
      const std::vector<float> x = RandomFloats(rows * in, 8);
      const std::vector<float> all = MatMul(x, rows, weight);
      const DeviceTensor picked = Empty(rows, std::ssize(ids));
      backend().MatMulColumns(Upload(rows, in, x).view(), weight, ids, picked.view());
      std::vector<float> expected;
      for (int64_t row = 0; row < rows; ++row) {
        for (const int32_t id : ids) expected.push_back(all[row * out_features + id]);
      }
      EXPECT_EQ(picked.Read(), expected) << NameOf(dtype) << ", " << rows << " rows";
    }
  }
}

TEST_P(MatMulTest, RoundsToNearestEvenOnlyWhereAsked) {
  const std::vector<float> x = {1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1.8p-8f, -(1 + 0x1p-8f)};
  const std::vector<float> rounded = {1, 1 + 0x1p-6f, 1 + 0x1p-7f, -1};
  const bool in_bf16 = GetParam().options.compute == Compute::kBF16;
  EXPECT_EQ(MatMul(x, 4, Pack({1}, 1, 1, DType::kBF16)), in_bf16 ? rounded : x);
  EXPECT_EQ(MatMul(x, 4, Pack({1}, 1, 1, DType::kF32)), x);
}

TEST_P(MatMulTest, F16IsRoundedToEvenAndNeverInfinite) {
  const std::vector<float> x = {1 + 0x1p-11f, 1 + 0x3p-11f, 70000, -1e30f, 0x1p-25f, 0x3p-25f};
  const std::vector<float> rounded = {1, 1 + 0x1p-9f, 65504, -65504, 0, 0x1p-23f};
  const bool in_f16 = GetParam().options.compute == Compute::kF16;
  EXPECT_EQ(MatMul(x, 6, Pack({1}, 1, 1, DType::kF16)), in_f16 ? rounded : x);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(MatMul({nan}, 1, Pack({1}, 1, 1, DType::kF16))[0]));
}

// What rounding costs: half a step of each input's group at most, or a 256th of each product.
TEST_P(MatMulTest, Int8IsWithinItsRounding) {
  const Shape shape = {9, 300, 40};
  const std::vector<float> x = RandomFloats(shape.rows * shape.in, 9);
  const Matrix weight =
      Pack(RandomFloats(shape.out * shape.in, 10, 0.05f), shape.out, shape.in, DType::kI8);
  const std::vector<float> stored = Stored(weight);
  const std::vector<float> out = MatMul(x, shape.rows, weight);
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t col = 0; col < shape.out; ++col) {
      double sum = 0;
      double bound = 0;
      for (int64_t begin = 0; begin < shape.in; begin += kInt8Group) {
        float largest = 0;
        double weights = 0;
        for (int64_t i = begin; i < std::min(begin + kInt8Group, shape.in); ++i) {
          const float input = x[row * shape.in + i];
          const double w = stored[col * shape.in + i];
          sum += input * w;
          weights += std::fabs(w);
          largest = std::max(largest, std::fabs(input));
        }
        bound += Int8Rounding() * largest * weights;
        bound += 1e-6 * largest * weights;
      }
      ASSERT_NEAR(out[row * shape.out + col], sum, bound) << "row " << row << " col " << col;
    }
  }
}

// The largest sums of a group, of either sign, and weights and inputs at the ends of their range.
TEST_P(MatMulTest, Int8SumsAreExact) {
  const int64_t in = 4 * kInt8Group;
  std::vector<float> weights;
  for (const float sign : {1.0f, -1.0f}) weights.insert(weights.end(), in, sign * 127);
  const Matrix weight = Pack(weights, 2, in, DType::kI8);
  std::vector<float> x(in, 127);
  x.insert(x.end(), in, -127);
  const float largest = 127.0f * 127.0f * static_cast<float>(in);
  EXPECT_EQ(MatMul(x, 2, weight), (std::vector<float>{largest, -largest, -largest, largest}));
}

TEST_P(MatMulTest, Int8TakesAnyMagnitude) {
  const Matrix weight = Pack(std::vector<float>(70, 1.0f), 1, 70, DType::kI8);
  std::vector<float> x(3 * 70, 0.0f);
  x[3] = 0x1p-120f;       // row 0: as good as zero
  x[70 + 69] = 0x1p120f;  // row 1
  x[140] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> out = MatMul(x, 3, weight);
  EXPECT_NEAR(out[0], 0, 0x1p-100f);
  EXPECT_NEAR(out[1], 0x1p120f, 0x1p100f);
  EXPECT_TRUE(std::isnan(out[2]));
}

// Integer sums are exact, and what is left is the same fused multiply-adds.
TEST(Int8MatMulTest, InstructionSetsAgreeToTheBit) {
  constexpr Shape kShape = {14, 331, 50};
  const std::vector<float> x = RandomFloats(kShape.rows * kShape.in, 11);
  const std::vector<float> weights = RandomFloats(kShape.out * kShape.in, 12);
  const HostMatrix part = {weights.data(), kShape.out, kShape.in, DType::kF32};
  std::vector<float> first;
  for (const char* isa : {"avx3_bf16", "avx3_vnni", "avx3", "avx2", "neon"}) {
    const auto backend = MakeBackend({.compute = Compute::kI8, .cpu_isa = isa});
    if (!backend.ok()) continue;
    const Matrix weight = *(*backend)->Pack({&part, 1}, DType::kI8);
    const DeviceTensor out(**backend, kShape.rows, kShape.out);
    (*backend)->MatMul(DeviceTensor(**backend, kShape.rows, kShape.in, x).view(), weight, {},
                       out.view());
    if (first.empty()) first = out.Read();
    EXPECT_EQ(out.Read(), first) << isa;
  }
}

TEST_P(MatMulTest, NoRowsIsNoWork) {
  const Matrix weight = Pack({1, 2}, 1, 2, DType::kBF16);
  backend().MatMul(Empty(0, 2).view(), weight, {}, Empty(0, 1).view());
  EXPECT_TRUE(MatMul({}, 0, weight).empty());
}

SPADE_DEVICE_SUITE(MatMulTest);

}  // namespace
}  // namespace spade::testing
