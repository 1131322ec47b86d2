#include "kernels/parallel/address_map.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <utility>
#include <vector>

namespace spade::testing {
namespace {

int freed = 0;

// Buffers of one size, one a shard.
std::vector<Buffer> Twins(int32_t shards, size_t bytes) {
  std::vector<Buffer> twins;
  for (int32_t shard = 0; shard < shards; ++shard) {
    twins.emplace_back(std::malloc(bytes), bytes, [](void* memory, size_t) {
      std::free(memory);
      ++freed;
    });
  }
  return twins;
}

std::vector<void*> AddressesOf(const std::vector<Buffer>& twins) {
  std::vector<void*> addresses;
  for (const Buffer& twin : twins) addresses.push_back(twin.data());
  return addresses;
}

std::byte* Add(void* address, size_t bytes) { return static_cast<std::byte*>(address) + bytes; }

TEST(AddressMapTest, ShowsTheFirstShardsMemory) {
  AddressMap map;
  std::vector<Buffer> twins = Twins(2, 100);
  void* const first = twins[0].data();
  const Buffer buffer = map.Add(std::move(twins));
  EXPECT_EQ(buffer.data(), first);
  EXPECT_EQ(buffer.size(), 100u);
}

TEST(AddressMapTest, FindsTheSamePlaceOnEveryShard) {
  AddressMap map;
  std::vector<Buffer> kept;
  std::vector<std::vector<void*>> addresses;
  for (const size_t bytes : {64, 4096, 1, 300}) {
    std::vector<Buffer> twins = Twins(3, bytes);
    addresses.push_back(AddressesOf(twins));
    kept.push_back(map.Add(std::move(twins)));
  }
  for (size_t i = 0; i < kept.size(); ++i) {
    for (const size_t offset : {size_t{0}, kept[i].size() / 2, kept[i].size() - 1}) {
      const auto place = map.Find(Add(kept[i].data(), offset), 1);
      for (int32_t shard = 0; shard < 3; ++shard) {
        EXPECT_EQ(place.On(shard), Add(addresses[i][static_cast<size_t>(shard)], offset));
      }
    }
  }
}

TEST(AddressMapTest, NullIsNullEverywhere) {
  const AddressMap map;
  for (const int32_t shard : {0, 1, 7}) EXPECT_EQ(map.Find(nullptr, 0).On(shard), nullptr);
}

TEST(AddressMapTest, LettingGoFreesTheMemoryOfAllShards) {
  AddressMap map;
  freed = 0;
  {
    const Buffer buffer = map.Add(Twins(3, 10));
    EXPECT_EQ(map.size(), 1u);
    EXPECT_EQ(freed, 0);
  }
  EXPECT_EQ(freed, 3);
  EXPECT_EQ(map.size(), 0u);
}

TEST(AddressMapTest, AMovedBufferIsFreedOnce) {
  AddressMap map;
  freed = 0;
  {
    Buffer buffer = map.Add(Twins(2, 10));
    const Buffer moved = std::move(buffer);
    buffer = map.Add(Twins(2, 10));
    EXPECT_EQ(freed, 0);
  }
  EXPECT_EQ(freed, 4);
}

TEST(AddressMapDeathTest, AnAddressOfNobodyIsOurBug) {
  AddressMap map;
  int elsewhere = 0;
  EXPECT_DEATH(map.Find(&elsewhere, 1), "check failed");
  const Buffer buffer = map.Add(Twins(2, 10));
  EXPECT_DEATH(map.Find(&elsewhere, 1), "check failed");
  EXPECT_DEATH(map.Find(Add(buffer.data(), 10), 0), "check failed") << "behind the end";
  EXPECT_DEATH(map.Find(Add(buffer.data(), 5), 6), "check failed") << "over the end";
}

}  // namespace
}  // namespace spade::testing
