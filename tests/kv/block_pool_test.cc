#include "engine/kv/block_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace spade {
namespace {

BlockHash Hash(uint64_t value) { return {.low = value, .high = ~value}; }

// Allocates, publishes and releases a block.
BlockId MakeCached(BlockPool& pool, const BlockHash& hash) {
  const BlockId block = pool.Allocate().value();
  pool.Publish(block, hash);
  pool.Release(block);
  return block;
}

TEST(BlockPoolTest, HandsOutEachBlockOnce) {
  BlockPool pool(3);
  const std::set<BlockId> blocks = {*pool.Allocate(), *pool.Allocate(), *pool.Allocate()};
  EXPECT_EQ(blocks, (std::set<BlockId>{0, 1, 2}));
}

TEST(BlockPoolTest, AllocateFailsWhenAllAreInUse) {
  BlockPool pool(1);
  ASSERT_TRUE(pool.Allocate().has_value());
  EXPECT_FALSE(pool.Allocate().has_value());
}

TEST(BlockPoolTest, AnEmptyPoolHasNothing) {
  BlockPool pool(0);
  EXPECT_EQ(pool.num_available(), 0);
  EXPECT_FALSE(pool.Allocate().has_value());
  EXPECT_FALSE(pool.Find(Hash(1)).has_value());
}

TEST(BlockPoolTest, AReleasedUnpublishedBlockIsFree) {
  BlockPool pool(2);
  pool.Release(*pool.Allocate());
  EXPECT_EQ(pool.num_available(), 2);
  EXPECT_EQ(pool.num_cached(), 0);
  EXPECT_EQ(pool.num_in_use(), 0);
}

TEST(BlockPoolTest, ABlockIsInUseUntilItsLastReference) {
  BlockPool pool(1);
  const BlockId block = *pool.Allocate();
  pool.AddReference(block);
  pool.Release(block);
  EXPECT_EQ(pool.num_in_use(), 1);
  pool.Release(block);
  EXPECT_EQ(pool.num_in_use(), 0);
}

TEST(BlockPoolTest, AReleasedPublishedBlockIsCachedAndAvailable) {
  BlockPool pool(1);
  MakeCached(pool, Hash(1));
  EXPECT_EQ(pool.num_cached(), 1);
  EXPECT_EQ(pool.num_available(), 1);
}

TEST(BlockPoolTest, FindsACachedBlockAndTakesIt) {
  BlockPool pool(2);
  const BlockId block = MakeCached(pool, Hash(1));
  EXPECT_EQ(pool.Find(Hash(1)), block);
  EXPECT_EQ(pool.num_in_use(), 1);
  EXPECT_EQ(pool.num_cached(), 0);
}

TEST(BlockPoolTest, FindsABlockInUseAndSharesIt) {
  BlockPool pool(1);
  const BlockId block = *pool.Allocate();
  pool.Publish(block, Hash(1));
  ASSERT_EQ(pool.Find(Hash(1)), block);
  pool.Release(block);
  EXPECT_EQ(pool.num_in_use(), 1);
}

TEST(BlockPoolTest, DoesNotFindAnUnpublishedBlock) {
  BlockPool pool(1);
  ASSERT_TRUE(pool.Allocate().has_value());
  EXPECT_FALSE(pool.Find(Hash(1)).has_value());
}

TEST(BlockPoolTest, ComparesTheWholeHash) {
  BlockPool pool(1);
  MakeCached(pool, {.low = 1, .high = 1});
  EXPECT_FALSE(pool.Find({.low = 1, .high = 2}).has_value());
}

TEST(BlockPoolTest, FreeBlocksAreUsedBeforeCachedOnes) {
  BlockPool pool(2);
  const BlockId cached = MakeCached(pool, Hash(1));
  EXPECT_NE(pool.Allocate(), cached);
  EXPECT_TRUE(pool.Find(Hash(1)).has_value());
}

TEST(BlockPoolTest, EvictsTheLeastRecentlyReleased) {
  BlockPool pool(3);
  for (const uint64_t hash : {1, 2, 3}) MakeCached(pool, Hash(hash));
  pool.Release(*pool.Find(Hash(1)));  // now the newest
  ASSERT_TRUE(pool.Allocate().has_value());
  EXPECT_FALSE(pool.Find(Hash(2)).has_value());
  EXPECT_TRUE(pool.Find(Hash(1)).has_value());
  EXPECT_TRUE(pool.Find(Hash(3)).has_value());
}

TEST(BlockPoolTest, AnEvictedBlockIsNoLongerFound) {
  BlockPool pool(1);
  MakeCached(pool, Hash(1));
  const BlockId block = *pool.Allocate();
  EXPECT_FALSE(pool.Find(Hash(1)).has_value());
  pool.Release(block);
  EXPECT_EQ(pool.num_cached(), 0);
}

TEST(BlockPoolTest, TheFirstBlockPublishedUnderAHashStays) {
  BlockPool pool(2);
  const BlockId first = *pool.Allocate();
  const BlockId second = *pool.Allocate();
  pool.Publish(first, Hash(1));
  pool.Publish(second, Hash(1));
  EXPECT_EQ(pool.Find(Hash(1)), first);
  pool.Release(second);
  EXPECT_EQ(pool.num_cached(), 0);
}

TEST(BlockPoolTest, DropCacheFreesCachedBlocks) {
  BlockPool pool(2);
  MakeCached(pool, Hash(1));
  pool.DropCache();
  EXPECT_EQ(pool.num_cached(), 0);
  EXPECT_EQ(pool.num_available(), 2);
  EXPECT_FALSE(pool.Find(Hash(1)).has_value());
}

TEST(BlockPoolTest, DropCacheHidesBlocksInUse) {
  BlockPool pool(1);
  const BlockId block = *pool.Allocate();
  pool.Publish(block, Hash(1));
  pool.DropCache();
  EXPECT_EQ(pool.num_in_use(), 1);
  EXPECT_FALSE(pool.Find(Hash(1)).has_value());
  pool.Release(block);
  EXPECT_EQ(pool.num_cached(), 0);
}

TEST(BlockPoolDeathTest, ReleasingAFreeBlockIsABug) {
  BlockPool pool(1);
  EXPECT_DEATH(pool.Release(0), "references > 0");
}

// Against a model that keeps sets: random operations, equal answers.
TEST(BlockPoolTest, AgreesWithAPlainModelOverRandomOperations) {
  constexpr int32_t kBlocks = 13;
  BlockPool pool(kBlocks);
  std::mt19937 random(7);
  std::multiset<BlockId> references;
  std::map<uint64_t, BlockId> published;  // in use or cached
  std::vector<BlockId> cached;            // oldest first
  const auto is_published = [&](BlockId block) {
    for (const auto& [hash, other] : published) {
      if (other == block) return true;
    }
    return false;
  };
  for (int step = 0; step < 20000; ++step) {
    const uint64_t hash = random() % 20;
    const auto held = references.empty()
                          ? references.end()
                          : std::next(references.begin(), random() % references.size());
    switch (random() % 4) {
      case 0: {
        const auto block = pool.Allocate();
        const std::set<BlockId> in_use(references.begin(), references.end());
        ASSERT_EQ(block.has_value(), in_use.size() < kBlocks);
        if (!block) break;
        ASSERT_EQ(references.count(*block), 0u);
        if (in_use.size() + cached.size() == kBlocks) {
          ASSERT_EQ(*block, cached.front());
          cached.erase(cached.begin());
          std::erase_if(published, [&](const auto& entry) { return entry.second == *block; });
        }
        references.insert(*block);
        break;
      }
      case 1: {
        if (held == references.end()) break;
        const BlockId block = *held;
        references.erase(held);
        pool.Release(block);
        if (references.count(block) == 0 && is_published(block)) cached.push_back(block);
        break;
      }
      case 2: {
        if (held == references.end()) break;
        pool.Publish(*held, Hash(hash));
        if (!is_published(*held)) published.try_emplace(hash, *held);
        break;
      }
      default: {
        const auto block = pool.Find(Hash(hash));
        const auto expected = published.find(hash);
        ASSERT_EQ(block.has_value(), expected != published.end());
        if (!block) break;
        ASSERT_EQ(*block, expected->second);
        references.insert(*block);
        std::erase(cached, *block);
      }
    }
    ASSERT_EQ(pool.num_cached(), static_cast<int32_t>(cached.size()));
    ASSERT_EQ(pool.num_in_use(),
              static_cast<int32_t>(std::set<BlockId>(references.begin(), references.end()).size()));
  }
}

}  // namespace
}  // namespace spade
