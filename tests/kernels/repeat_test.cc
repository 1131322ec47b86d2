// Runs of operations that come again, and time marks.
#include <optional>
#include <vector>

#include "tests/kernels/device_test.h"

namespace spade::testing {
namespace {

constexpr int64_t kIn = 48;
constexpr int64_t kOut = 40;

class RepeatTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    up_ = Pack(RandomFloats(2 * kOut * kIn, 1), 2 * kOut, kIn, DType::kBF16);
    down_ = Pack(RandomFloats(kIn * kOut, 2), kIn, kOut, DType::kBF16);
    norm_.emplace(Upload(1, kIn, RandomFloats(kIn, 3)));
    x_.emplace(Empty(20, kIn));
    gate_up_.emplace(Empty(20, 2 * kOut));
    gated_.emplace(Empty(20, kOut));
  }

  // A layer's second half, on the first rows of x.
  void Queue(int64_t rows) {
    const Tensor x = x_->view().Slice(0, rows);
    const Tensor gate_up = gate_up_->view().Slice(0, rows);
    const Tensor gated = gated_->view().Slice(0, rows);
    backend().RmsNorm(x, norm_->data(), 1e-6f, x);
    backend().MatMul(x, up_, {}, gate_up);
    backend().SiluMul(gate_up, gated);
    backend().MatMul(gated, down_, {.accumulate = true}, x);
  }

  void Fill(uint32_t seed) {
    const std::vector<float> values = RandomFloats(20 * kIn, seed);
    backend().CopyFromHost(x_->view().data, values.data(), x_->view().bytes());
  }

  Matrix up_;
  Matrix down_;
  std::optional<DeviceTensor> norm_;
  std::optional<DeviceTensor> x_;
  std::optional<DeviceTensor> gate_up_;
  std::optional<DeviceTensor> gated_;
};

TEST_P(RepeatTest, RunsGiveTheBitsOfTheirOperations) {
  for (const int64_t rows : {1, 3, 20}) {
    for (const uint32_t seed : {1u, 2u, 3u, 4u}) {
      Fill(seed);
      Queue(rows);
      const std::vector<float> expected = x_->Read();
      Fill(seed);
      backend().RunRepeatable(rows, [&] { Queue(rows); });
      ASSERT_EQ(x_->Read(), expected) << rows << " rows, run " << seed;
    }
  }
}

TEST_P(RepeatTest, RunsOfOtherOperationsAreNotConfused) {
  const DeviceTensor other = Upload(1, kIn, RandomFloats(kIn, 9));
  const Tensor x = x_->view().Slice(0, 2);
  for (int i = 0; i < 3; ++i) {
    for (const float* weight : {norm_->data(), other.data()}) {
      Fill(5);
      backend().RmsNorm(x, weight, 1e-6f, x);
      const std::vector<float> expected = x_->Read();
      Fill(5);
      backend().RunRepeatable(2, [&] { backend().RmsNorm(x, weight, 1e-6f, x); });
      ASSERT_EQ(x_->Read(), expected) << "round " << i;
    }
  }
}

TEST_P(RepeatTest, TimesBetweenMarksAddUp) {
  const Backend::TimeMark first = backend().MarkTime();
  Queue(20);
  const Backend::TimeMark second = backend().MarkTime();
  Queue(20);
  const Backend::TimeMark third = backend().MarkTime();
  const double whole = backend().ElapsedSeconds(first, third);
  EXPECT_GT(backend().ElapsedSeconds(first, second), 0);
  EXPECT_NEAR(backend().ElapsedSeconds(first, second) + backend().ElapsedSeconds(second, third),
              whole, 1e-3 * whole + 2e-6);  // a GPU counts in halves of a microsecond
}

SPADE_DEVICE_SUITE(RepeatTest);

}  // namespace
}  // namespace spade::testing
