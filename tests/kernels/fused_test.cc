// Operations that a backend may do in one pass: they have the bits of those they are made of, which
// have references of their own.
#include <limits>
#include <vector>

#include "tests/kernels/device_test.h"

namespace spade::testing {
namespace {

constexpr float kEpsilon = 1e-5f;

struct Shape {
  int64_t rows;
  int64_t in;
  int64_t out;  // of an MLP: its inner activations
};

// Below, at and above the rows from which on gates and ups meet; several tiles and blocks; long and
// short panels; inner sizes of whole panels, and not.
constexpr Shape kShapes[] = {{1, 64, 48},   {4, 192, 32},  {5, 64, 16},   {12, 576, 96},
                             {33, 260, 48}, {33, 192, 40}, {250, 64, 80}, {70, 1100, 32}};

class FusedTest : public DeviceTest {
 protected:
  struct Inputs {
    DeviceTensor x;
    DeviceTensor norm;
    DeviceTensor bias;
    DeviceTensor normed;
  };

  // For a weight of `out` rows.
  Inputs MakeInputs(const Shape& shape, int64_t out) {
    return {Upload(shape.rows, shape.in, RandomFloats(shape.rows * shape.in, 1, 3.0f)),
            Upload(1, shape.in, RandomFloats(shape.in, 2)), Upload(1, out, RandomFloats(out, 3)),
            Empty(shape.rows, shape.in)};
  }
  // Filled with what no result may depend on.
  DeviceTensor Poisoned(int64_t rows, int64_t cols) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    return Upload(rows, cols, std::vector<float>(static_cast<size_t>(rows * cols), nan));
  }

  void ExpectNormMatMul(const Shape& shape, DType dtype, bool has_bias) {
    const Matrix weight = Pack(RandomFloats(shape.out * shape.in, 4), shape.out, shape.in, dtype);
    const Inputs in = MakeInputs(shape, shape.out);
    const float* bias = has_bias ? in.bias.data() : nullptr;
    const DeviceTensor expected = Empty(shape.rows, shape.out);
    backend().RmsNorm(in.x.view(), in.norm.data(), kEpsilon, in.normed.view());
    backend().MatMul(in.normed.view(), weight, {.bias = bias}, expected.view());
    const DeviceTensor normed = Poisoned(shape.rows, shape.in);
    const DeviceTensor out = Poisoned(shape.rows, shape.out);
    backend().NormMatMul(in.x.view(), {in.norm.data(), kEpsilon}, weight, bias, normed.view(),
                         out.view());
    ASSERT_EQ(out.Read(), expected.Read()) << shape.rows << " x " << shape.in << " x " << shape.out;
  }

  void ExpectNormGateUp(const Shape& shape, DType dtype, bool has_bias) {
    const int64_t both = 2 * shape.out;
    const Matrix weight = Pack(RandomFloats(both * shape.in, 5), both, shape.in, dtype);
    const Inputs in = MakeInputs(shape, both);
    const float* bias = has_bias ? in.bias.data() : nullptr;
    const DeviceTensor product = Empty(shape.rows, both);
    const DeviceTensor expected = Empty(shape.rows, shape.out);
    backend().RmsNorm(in.x.view(), in.norm.data(), kEpsilon, in.normed.view());
    backend().MatMul(in.normed.view(), weight, {.bias = bias}, product.view());
    backend().SiluMul(product.view(), expected.view());
    const DeviceTensor normed = Poisoned(shape.rows, shape.in);
    const DeviceTensor gate_up = Poisoned(shape.rows, both);
    const DeviceTensor gated = Poisoned(shape.rows, shape.out);
    backend().NormGateUp(in.x.view(), {in.norm.data(), kEpsilon}, weight, bias, normed.view(),
                         gate_up.view(), gated.view());
    ASSERT_EQ(gated.Read(), expected.Read())
        << shape.rows << " x " << shape.in << " x " << shape.out;
  }
};

constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kI8};

TEST_P(FusedTest, NormMatMulHasTheBitsOfNormAndProduct) {
  for (const DType dtype : kTypes) {
    for (const Shape& shape : kShapes) {
      ExpectNormMatMul(shape, dtype, /*has_bias=*/false);
      ExpectNormMatMul(shape, dtype, /*has_bias=*/true);
    }
  }
}

TEST_P(FusedTest, NormGateUpHasTheBitsOfNormProductAndSilu) {
  for (const DType dtype : kTypes) {
    for (const Shape& shape : kShapes) {
      ExpectNormGateUp(shape, dtype, /*has_bias=*/false);
      ExpectNormGateUp(shape, dtype, /*has_bias=*/true);
    }
  }
}

SPADE_DEVICE_SUITE(FusedTest);

}  // namespace
}  // namespace spade::testing
