// A row's bits depend on that row alone: always but for the products of a backend that leaves them
// to a library.
#include <algorithm>

#include "tests/kernels/kv_fixture.h"

namespace spade::testing {
namespace {

using InvarianceTest = DeviceTest;

std::vector<float> Rows(const std::vector<float>& values, int64_t cols, int64_t first,
                        int64_t count) {
  return {values.begin() + first * cols, values.begin() + (first + count) * cols};
}

TEST_P(InvarianceTest, MatMulRowHasTheSameBitsInAnyBatch) {
  if (!IsBatchInvariant()) GTEST_SKIP() << "products are a library's";
  const int64_t in = 515;
  const int64_t out = 70;
  const int64_t rows = 38;
  const std::vector<float> x = RandomFloats(rows * in, 1);
  for (const DType dtype : kWeightTypes) {
    const Matrix weight = Pack(RandomFloats(out * in, 2), out, in, dtype);
    const std::vector<float> all = MatMul(x, rows, weight);
    for (const int64_t count : {1, 2, 3, 4, 5, 6, 7, 12, 13}) {
      for (const int64_t first : {0, 11, 25}) {
        ASSERT_EQ(MatMul(Rows(x, in, first, count), count, weight), Rows(all, out, first, count))
            << NameOf(dtype) << ": rows " << first << " to " << first + count;
      }
    }
  }
}

TEST_P(InvarianceTest, MatMulHasTheSameBitsForAnyNumberOfThreads) {
  if (!IsBatchInvariant()) GTEST_SKIP() << "products are a library's";
  const int64_t in = 300;
  const int64_t out = 530;  // enough work for every thread
  for (const int64_t rows : {2, 260}) {
    const std::vector<float> x = RandomFloats(rows * in, 3);
    const std::vector<float> weights = RandomFloats(out * in, 4);
    std::vector<float> first;
    for (const int32_t threads : {1, 2, 3}) {
      BackendOptions options = GetParam().options;
      options.num_threads = threads;
      const std::unique_ptr<Backend> other = *MakeBackend(options);
      const HostMatrix part = {weights.data(), out, in, DType::kF32};
      const Matrix weight = *other->Pack({&part, 1}, DType::kBF16);
      const DeviceTensor result(*other, rows, out);
      other->MatMul(DeviceTensor(*other, rows, in, x).view(), weight, {}, result.view());
      if (first.empty()) first = result.Read();
      EXPECT_EQ(result.Read(), first) << threads << " threads, " << rows << " rows";
    }
  }
}

class AttentionInvarianceTest : public DeviceTest {
 protected:
  static constexpr KvShape Shape(DType dtype) { return {{6, 2, 64}, 16, dtype, {75, 18, 1}}; }
};

TEST_P(AttentionInvarianceTest, ChunksHaveTheSameBitsAsTheWhole) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    // Tensor cores round those of long runs only.
    if (RoundsAttention(dtype) && !IsBatchInvariant()) continue;
    const KvShape shape = Shape(dtype);
    KvFixture kv(backend(), shape, 5);
    kv.StoreAll();
    const std::vector<KvFixture::Row> rows = kv.AllRows();
    const int64_t cols = shape.heads.q_cols();
    const std::vector<float> all = kv.Attend(rows);
    for (const int64_t chunk : {1, 3, 7, 32}) {
      for (int64_t first = 0; first < std::ssize(rows); first += chunk) {
        const int64_t count = std::min<int64_t>(chunk, std::ssize(rows) - first);
        const std::vector<KvFixture::Row> part(rows.begin() + first, rows.begin() + first + count);
        ASSERT_EQ(kv.Attend(part), Rows(all, cols, first, count)) << "chunk " << chunk;
      }
    }
  }
}

TEST_P(AttentionInvarianceTest, NeighboursAndGapsDoNotMatter) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const KvShape shape = Shape(dtype);
    KvFixture kv(backend(), shape, 6);
    kv.StoreAll();
    const int64_t cols = shape.heads.q_cols();
    const std::vector<float> batch = kv.Attend({{0, 3}, {0, 70}, {0, 74}, {1, 17}, {2, 0}});
    EXPECT_EQ(kv.Attend({{0, 70}}), Rows(batch, cols, 1, 1));
    EXPECT_EQ(kv.Attend({{1, 17}}), Rows(batch, cols, 3, 1));
  }
}

TEST_P(InvarianceTest, RowOperationsHaveTheSameBitsInAnyBatch) {
  const int64_t rows = 300;
  const int64_t cols = 390;
  const DeviceTensor x = Upload(rows, cols, RandomFloats(rows * cols, 7));
  const DeviceTensor weight = Upload(1, cols, RandomFloats(cols, 8));
  const DeviceTensor norms = Empty(rows, cols);
  const DeviceTensor products = Empty(rows, cols / 2);
  backend().RmsNorm(x.view(), weight.data(), 1e-6f, norms.view());
  backend().SiluMul(x.view(), products.view());
  const DeviceTensor norm = Empty(1, cols);
  const DeviceTensor product = Empty(1, cols / 2);
  for (const int64_t row : {0, 151, 299}) {
    backend().RmsNorm(x.view().Slice(row, 1), weight.data(), 1e-6f, norm.view());
    backend().SiluMul(x.view().Slice(row, 1), product.view());
    EXPECT_EQ(norm.Read(), Rows(norms.Read(), cols, row, 1));
    EXPECT_EQ(product.Read(), Rows(products.Read(), cols / 2, row, 1));
  }
}

SPADE_DEVICE_SUITE(InvarianceTest);
SPADE_DEVICE_SUITE(AttentionInvarianceTest);

}  // namespace
}  // namespace spade::testing
