#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/kv/block_pool.h"

namespace spade {
namespace {

using Tokens = std::vector<TokenId>;

TEST(BlockHasherTest, SameInputGivesSameHash) {
  const BlockHasher hasher(1, 2);
  const Tokens tokens = {5, 6, 7};
  EXPECT_EQ(hasher.Next(hasher.Root("salt"), tokens), hasher.Next(hasher.Root("salt"), tokens));
}

TEST(BlockHasherTest, DependsOnEitherKey) {
  const BlockHash hash = BlockHasher(1, 2).Root("salt");
  EXPECT_NE(hash, BlockHasher(3, 2).Root("salt"));
  EXPECT_NE(hash, BlockHasher(1, 3).Root("salt"));
}

TEST(BlockHasherTest, DependsOnSalt) {
  const BlockHasher hasher(1, 2);
  EXPECT_NE(hasher.Root("a"), hasher.Root("b"));
}

TEST(BlockHasherTest, SaltsThatDifferInTrailingZerosDiffer) {
  const BlockHasher hasher(1, 2);
  EXPECT_NE(hasher.Root(""), hasher.Root(std::string(1, '\0')));
  EXPECT_NE(hasher.Root(std::string(1, '\0')), hasher.Root(std::string(2, '\0')));
}

TEST(BlockHasherTest, DependsOnParent) {
  const BlockHasher hasher(1, 2);
  const Tokens tokens = {1, 2};
  EXPECT_NE(hasher.Next(hasher.Root("a"), tokens), hasher.Next(hasher.Root("b"), tokens));
}

TEST(BlockHasherTest, DependsOnTheOrderOfTokens) {
  const BlockHasher hasher(1, 2);
  const BlockHash root = hasher.Root("");
  EXPECT_NE(hasher.Next(root, Tokens{1, 2}), hasher.Next(root, Tokens{2, 1}));
}

TEST(BlockHasherTest, OddBlocksArePaddedUnambiguously) {
  const BlockHasher hasher(1, 2);
  const BlockHash root = hasher.Root("");
  EXPECT_NE(hasher.Next(root, Tokens{1}), hasher.Next(root, Tokens{1, 0}));
}

TEST(BlockHasherTest, BothHalvesAreSpread) {
  const BlockHasher hasher(1, 2);
  const BlockHash root = hasher.Root("");
  std::set<uint64_t> low;
  std::set<uint64_t> high;
  for (TokenId token = 0; token < 10000; ++token) {
    const BlockHash hash = hasher.Next(root, Tokens{token});
    low.insert(hash.low & 0xffffffffu);
    high.insert(hash.high & 0xffffffffu);
  }
  // Of 10,000 draws of 32 bits 0.01 pairs are expected to meet.
  EXPECT_GE(low.size(), 9998u);
  EXPECT_GE(high.size(), 9998u);
}

TEST(BlockHasherTest, ChainsOfDifferentSaltsNeverMeet) {
  const BlockHasher hasher(1, 2);
  const std::vector<TokenId> tokens = {1, 2, 3, 4};
  std::vector<BlockHash> seen;
  for (const std::string& salt :
       {std::string(), std::string(1, '\0'), std::string(8, '\0'), std::string("a"),
        std::string("a\n"), std::string("a\nb"), std::string("ab"), std::string("a\nb\n")}) {
    BlockHash hash = hasher.Root(salt);
    for (int block = 0; block < 4; ++block) {
      hash = hasher.Next(hash, tokens);
      EXPECT_EQ(std::count(seen.begin(), seen.end(), hash), 0) << salt << " " << block;
      seen.push_back(hash);
    }
  }
}

}  // namespace
}  // namespace spade
