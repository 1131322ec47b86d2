#include "engine/kv/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include "absl/status/status.h"

namespace spade {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Memory up to a limit, and no operation.
class MemoryOnlyBackend final : public Backend {
 public:
  explicit MemoryOnlyBackend(size_t limit) : left_(limit) {}
  const std::vector<size_t>& allocations() const { return allocations_; }

  absl::StatusOr<Buffer> Allocate(size_t bytes) override {
    if (bytes > left_) return absl::ResourceExhaustedError("out of memory");
    left_ -= bytes;
    allocations_.push_back(bytes);
    return Buffer(new char[bytes](), bytes,
                  [](void* data, size_t) { delete[] static_cast<char*>(data); });
  }

  std::string_view name() const override { return "memory"; }
  std::string description() const override { return "memory"; }
  void CopyToHost(void*, const void*, size_t) override {}
  void CopyFromHost(void*, const void*, size_t) override {}
  void Synchronize() override {}
  const float* HostView(Tensor) override { return nullptr; }
  absl::StatusOr<Matrix> Pack(std::span<const HostMatrix>, DType) override { return Matrix{}; }
  void Embed(const Matrix&, std::span<const int32_t>, Tensor) override {}
  void RmsNorm(Tensor, const float*, float, Tensor) override {}
  void MatMul(Tensor, const Matrix&, const MatMulOptions&, Tensor) override {}
  void MatMulColumns(Tensor, const Matrix&, std::span<const int32_t>, Tensor) override {}
  void RopeAngles(std::span<const int32_t>, std::span<const float>, Tensor) override {}
  void Rope(Tensor, const HeadLayout&, const QkNorm&, Tensor) override {}
  void StoreKv(Tensor, const HeadLayout&, const BatchView&, KvView) override {}
  void Attention(Tensor, const HeadLayout&, const BatchView&, KvView, Tensor) override {}
  void StartSelfAttention(Tensor, const HeadLayout&, StartView, Tensor) override {}
  void SiluMul(Tensor, Tensor) override {}
  void GatherRows(Tensor, std::span<const int32_t>, Tensor) override {}
  void CopyRows(Tensor, std::span<const int32_t>, std::span<const int32_t>, Tensor) override {}
  void ParallelFor(int64_t, const std::function<void(int64_t)>&) override {}

 private:
  size_t left_;
  std::vector<size_t> allocations_;
};

constexpr KvShape kShape = {
    .num_layers = 2, .num_kv_heads = 3, .head_dim = 4, .block_size = 16, .dtype = DType::kBF16};

TEST(KvCacheTest, ABlockCountsKeysAndValuesOfAllLayers) {
  EXPECT_EQ(kShape.bytes_per_block(), 2 * 2 * 3 * 4 * 16 * 2);
}

TEST(KvCacheTest, AllocatesWhatItsBlocksTake) {
  MemoryOnlyBackend backend(1 << 20);
  const auto cache = KvCache::Create(backend, kShape, /*num_blocks=*/5);
  ASSERT_TRUE(cache.ok()) << cache.status();
  size_t total = 0;
  for (const size_t bytes : backend.allocations()) total += bytes;
  EXPECT_EQ(total, static_cast<size_t>(5 * kShape.bytes_per_block()));
  EXPECT_EQ(cache->num_blocks(), 5);
}

TEST(KvCacheTest, HasDistinctPoolsPerLayer) {
  MemoryOnlyBackend backend(1 << 20);
  const auto cache = KvCache::Create(backend, kShape, 1);
  ASSERT_TRUE(cache.ok()) << cache.status();
  std::set<void*> pools;
  for (const KvView& view : cache->views()) {
    pools.insert(view.keys);
    pools.insert(view.values);
    EXPECT_EQ(view.dtype, DType::kBF16);
    EXPECT_EQ(view.block_size, 16);
  }
  EXPECT_EQ(cache->views().size(), 2u);
  EXPECT_EQ(pools.size(), 4u);
}

TEST(KvCacheTest, TheScratchIsOneLayerDeep) {
  MemoryOnlyBackend backend(1 << 20);
  const auto cache = KvCache::Create(backend, kShape, /*num_blocks=*/5, /*num_scratch_blocks=*/3);
  ASSERT_TRUE(cache.ok()) << cache.status();
  size_t total = 0;
  for (const size_t bytes : backend.allocations()) total += bytes;
  EXPECT_EQ(total, static_cast<size_t>(5 * kShape.bytes_per_block() +
                                       3 * kShape.bytes_per_block() / kShape.num_layers));
  EXPECT_EQ(cache->num_blocks(), 5);
  ASSERT_EQ(cache->views().size(), 3u);
  EXPECT_NE(cache->views()[2].keys, cache->views()[1].keys);
  EXPECT_EQ(cache->views()[2].block_size, 16);
}

TEST(KvCacheTest, TooLittleMemorySaysHowMuchAndWhatToLower) {
  MemoryOnlyBackend backend(1 << 10);
  const auto cache = KvCache::Create(backend, kShape, 100);
  EXPECT_TRUE(absl::IsResourceExhausted(cache.status()));
  EXPECT_THAT(std::string(cache.status().message()),
              AllOf(HasSubstr("153600 bytes"), HasSubstr("lower --kv-memory")));
}

TEST(KvCacheTest, NoBlocksSaysWhatToRaise) {
  MemoryOnlyBackend backend(1 << 20);
  const auto cache = KvCache::Create(backend, kShape, 0);
  EXPECT_TRUE(absl::IsInvalidArgument(cache.status()));
  EXPECT_THAT(std::string(cache.status().message()),
              AllOf(HasSubstr("1536 bytes"), HasSubstr("raise --kv-memory")));
}

TEST(KvCacheTest, RefusesAnEmptyShape) {
  MemoryOnlyBackend backend(1 << 20);
  KvShape shape = kShape;
  shape.head_dim = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(KvCache::Create(backend, shape, 1).status()));
}

TEST(KvCacheTest, RefusesTypesThatNoBackendStores) {
  MemoryOnlyBackend backend(1 << 20);
  for (const DType dtype : {DType::kF16, DType::kI8, DType::kI32}) {
    KvShape shape = kShape;
    shape.dtype = dtype;
    const absl::Status status = KvCache::Create(backend, shape, 1).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr("use f32 or bf16"));
  }
}

TEST(KvCacheTest, RefusesABlockOfMoreBytesThanFit) {
  MemoryOnlyBackend backend(1 << 20);
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  const KvShape shape = {
      .num_layers = kMax, .num_kv_heads = kMax, .head_dim = kMax, .block_size = 1};
  EXPECT_TRUE(absl::IsInvalidArgument(KvCache::Create(backend, shape, 1).status()));
}

TEST(KvCacheTest, RefusesMoreBytesThanFit) {
  MemoryOnlyBackend backend(1 << 20);
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  const KvShape shape = {
      .num_layers = 1, .num_kv_heads = 1 << 16, .head_dim = 1 << 14, .block_size = 1};
  EXPECT_TRUE(absl::IsInvalidArgument(KvCache::Create(backend, shape, kMax).status()));
}

}  // namespace
}  // namespace spade
