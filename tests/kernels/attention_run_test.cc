// Long runs of one sequence's rows, as a prefill has them: what any rounding of queries and weights
// leaves exact.
#include <algorithm>

#include "tests/kernels/kv_fixture.h"

namespace spade::testing {
namespace {

using Row = KvFixture::Row;

const KvShape kShapes[] = {
    {{8, 2, 64}, 16, DType::kBF16, {1, 150, 40}},
    {{7, 1, 80}, 16, DType::kBF16, {70}},
    {{2, 2, 96}, 32, DType::kBF16, {66}},
    {{4, 1, 128}, 16, DType::kBF16, {20, 131}},
};

class AttentionRunTest : public DeviceTest {
 protected:
  // Calls `fill` with each row's queries, keys and values; then `expect(row, head, dim)` is what
  // attention of all rows must give.
  template <class Fill, class Expect>
  void ExpectOfAllRows(const KvShape& shape, const Fill& fill, const Expect& expect,
                       double tolerance) {
    KvFixture kv(backend(), shape, 1);
    const HeadLayout& heads = shape.heads;
    for (const Row& row : kv.AllRows()) {
      const std::span<float> qkv = kv.QkvOf(row);
      fill(row, qkv.first(heads.q_cols()), qkv.subspan(heads.q_cols(), heads.kv_cols()),
           qkv.last(heads.kv_cols()));
    }
    kv.Poison();
    kv.StoreAll();
    const std::vector<float> out = kv.Attend(kv.AllRows());
    size_t i = 0;
    for (const Row& row : kv.AllRows()) {
      for (int32_t column = 0; column < heads.q_cols(); ++column, ++i) {
        const int32_t head = column / heads.head_dim;
        ASSERT_NEAR(out[i], expect(row, head, column % heads.head_dim), tolerance)
            << "sequence " << row.sequence << " position " << row.position << " head " << head;
      }
    }
  }
};

// Signs that tell positions and KV heads apart.
float Code(const Row& row, int32_t kv_head, int32_t dim) {
  uint32_t hash = static_cast<uint32_t>(row.position) * 0x9e3779b1u +
                  static_cast<uint32_t>(row.sequence * 8 + kv_head) * 0x85ebca77u +
                  static_cast<uint32_t>(dim) * 0xc2b2ae3du;
  hash = (hash ^ hash >> 15) * 0x2c1b3c6du;
  return (hash >> 16 & 1) != 0 ? 1.0f : -1.0f;
}

// Whole numbers, which BF16 holds.
float ValueOf(const Row& row, int32_t kv_head, int32_t dim) {
  return static_cast<float>((row.position * 7 + row.sequence * 31 + kv_head * 13 + dim) % 97 - 48);
}

// Each head of each row looks for another earlier position.
Row Target(const Row& row, int32_t head) {
  return {row.sequence, (row.position * 5 + head * 11) % (row.position + 1)};
}

TEST_P(AttentionRunTest, EachQueryFindsTheOneKeyLikeIt) {
  for (const KvShape& shape : kShapes) {
    const int32_t group = shape.heads.q_heads / shape.heads.kv_heads;
    const int32_t dims = shape.heads.head_dim;
    const auto fill = [&](const Row& row, std::span<float> queries, std::span<float> keys,
                          std::span<float> values) {
      for (int32_t i = 0; i < std::ssize(queries); ++i) {
        const int32_t head = i / dims;
        queries[i] = 64 * Code(Target(row, head), head / group, i % dims);
      }
      for (int32_t i = 0; i < std::ssize(keys); ++i) {
        keys[i] = Code(row, i / dims, i % dims);
        values[i] = ValueOf(row, i / dims, i % dims);
      }
    };
    const auto expect = [&](const Row& row, int32_t head, int32_t dim) {
      return ValueOf(Target(row, head), head / group, dim);
    };
    ExpectOfAllRows(shape, fill, expect, 1e-6);
  }
}

TEST_P(AttentionRunTest, QueriesOfZeroGetTheMeanOfWhatTheySee) {
  for (const KvShape& shape : kShapes) {
    const int32_t group = shape.heads.q_heads / shape.heads.kv_heads;
    const int32_t dims = shape.heads.head_dim;
    const auto fill = [&](const Row& row, std::span<float> queries, std::span<float>,
                          std::span<float> values) {
      std::ranges::fill(queries, 0.0f);
      for (int32_t i = 0; i < std::ssize(values); ++i) values[i] = ValueOf(row, i / dims, i % dims);
    };
    const auto expect = [&](const Row& row, int32_t head, int32_t dim) {
      double sum = 0;
      for (int32_t p = 0; p <= row.position; ++p) {
        sum += ValueOf({row.sequence, p}, head / group, dim);
      }
      return sum / (row.position + 1);
    };
    ExpectOfAllRows(shape, fill, expect, 2e-5);
  }
}

TEST_P(AttentionRunTest, ChunksAndCompanyDoNotChangeARow) {
  KvFixture kv(backend(), {{4, 2, 64}, 16, DType::kBF16, {90}}, 3);
  kv.StoreAll();
  const std::vector<Row> rows = kv.AllRows();
  const std::vector<float> together = kv.Attend(rows);
  const std::vector<Row> last(rows.begin() + 73, rows.end());
  const std::vector<float> alone = kv.Attend(last);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.end() - std::ssize(alone)));
}

SPADE_DEVICE_SUITE(AttentionRunTest);

}  // namespace
}  // namespace spade::testing
