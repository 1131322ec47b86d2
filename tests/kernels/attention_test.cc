#include <cmath>

#include "tests/kernels/kv_fixture.h"

namespace spade::testing {
namespace {

class AttentionTest : public DeviceTest {
 protected:
  void ExpectReference(const KvShape& shape) {
    // attention_run_test.cc has what rounding leaves exact.
    const double tolerance = RoundsAttention(shape.dtype) ? 0.02 : 3e-6;
    KvFixture kv(backend(), shape, 1);
    kv.Poison();
    kv.StoreAll();
    const std::vector<KvFixture::Row> rows = kv.AllRows();
    const std::vector<float> actual = kv.Attend(rows);
    const int64_t cols = shape.heads.q_cols();
    for (size_t row = 0; row < rows.size(); ++row) {
      const std::vector<double> expected = kv.Reference(rows[row]);
      for (int64_t i = 0; i < cols; ++i) {
        ASSERT_NEAR(actual[row * cols + i], expected[i], tolerance)
            << "sequence " << rows[row].sequence << " position " << rows[row].position;
      }
    }
  }
};

TEST_P(AttentionTest, RaggedBatchInShuffledBlocksEqualsDoubleReference) {
  ExpectReference({{8, 2, 64}, 16, DType::kF32, {1, 16, 17, 70}});
}

TEST_P(AttentionTest, BF16CacheEqualsReferenceOfRoundedValues) {
  ExpectReference({{8, 2, 64}, 16, DType::kBF16, {5, 33, 48}});
}

TEST_P(AttentionTest, OddGroupsOfQueryHeads) {
  ExpectReference({{3, 1, 64}, 32, DType::kF32, {41, 2}});
}

TEST_P(AttentionTest, OneQueryHeadPerKvHead) {
  ExpectReference({{2, 2, 128}, 16, DType::kF32, {20, 21}});
}

TEST_P(AttentionTest, MoreQueryHeadsThanATileHolds) {
  ExpectReference({{21, 1, 16}, 16, DType::kF32, {19}});
}

TEST_P(AttentionTest, SmallBlocksAndOddHeadSizes) {
  ExpectReference({{4, 2, 8}, 8, DType::kF32, {9, 30}});
  ExpectReference({{2, 1, 72}, 24, DType::kBF16, {50}});
  ExpectReference({{1, 1, 256}, 16, DType::kF32, {18}});
}

TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
  const HeadLayout heads = {1, 1, 8};
  std::vector<float> qkv(2 * heads.qkv_cols(), 0.0f);
  for (int i = 0; i < 8; ++i) {
    qkv[24 + i] = 1e4f;       // second row's query
    qkv[8 + i] = 1e4f;        // first row's key: score 2.8e8
    qkv[24 + 8 + i] = -1e4f;  // second row's key
    qkv[16 + i] = 3.0f;       // first row's value
    qkv[24 + 16 + i] = 5.0f;
  }
  const std::vector<int32_t> positions = {0, 1};
  const std::vector<int32_t> sequences = {0, 0};
  const std::vector<int32_t> table = {0};
  const BatchView batch = {positions, sequences, table, 1};
  const Buffer keys = *backend().Allocate(16 * 8 * sizeof(float));
  const Buffer values = *backend().Allocate(16 * 8 * sizeof(float));
  const KvView kv = {keys.data(), values.data(), DType::kF32, 16};
  const DeviceTensor rows = Upload(2, heads.qkv_cols(), qkv);
  const DeviceTensor out = Empty(2, 8);
  backend().StoreKv(rows.view(), heads, batch, kv);
  backend().Attention(rows.view(), heads, batch, kv, out.view());
  EXPECT_EQ(out.Read(), std::vector<float>(16, 3.0f));
}

TEST_P(AttentionTest, StartSelfEqualsSoftmaxOverTwoKeys) {
  for (const HeadLayout heads : {HeadLayout{8, 2, 64}, HeadLayout{3, 1, 8}}) {
    const int64_t rows = 5;
    const int64_t dim = heads.head_dim;
    const std::vector<float> qkv = RandomFloats(rows * heads.qkv_cols(), 1);
    const std::vector<float> keys = RandomFloats(heads.kv_cols(), 2);
    const std::vector<float> values = RandomFloats(heads.kv_cols(), 3);
    const DeviceTensor start_keys = Upload(1, heads.kv_cols(), keys);
    const DeviceTensor start_values = Upload(1, heads.kv_cols(), values);
    const DeviceTensor out = Empty(rows, heads.q_cols());
    backend().StartSelfAttention(Upload(rows, heads.qkv_cols(), qkv).view(), heads,
                                 {start_keys.data(), start_values.data()}, out.view());
    const std::vector<float> actual = out.Read();
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t head = 0; head < heads.q_heads; ++head) {
        const int64_t kv = head / (heads.q_heads / heads.kv_heads) * dim;
        const float* query = &qkv[row * heads.qkv_cols() + head * dim];
        const float* key = &qkv[row * heads.qkv_cols() + heads.q_cols() + kv];
        const float* value = key + heads.kv_cols();
        double to_start = 0;
        double to_self = 0;
        for (int64_t i = 0; i < dim; ++i) {
          to_start += double{query[i]} * keys[kv + i] / std::sqrt(double(dim));
          to_self += double{query[i]} * key[i] / std::sqrt(double(dim));
        }
        const double self = 1 / (1 + std::exp(to_start - to_self));
        for (int64_t i = 0; i < dim; ++i) {
          ASSERT_NEAR(actual[row * heads.q_cols() + head * dim + i],
                      (1 - self) * values[kv + i] + self * value[i], 3e-6);
        }
      }
    }
  }
}

SPADE_DEVICE_SUITE(AttentionTest);

}  // namespace
}  // namespace spade::testing
