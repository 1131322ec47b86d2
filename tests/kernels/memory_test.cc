#include "kernels/cpu/memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"

namespace spade {
namespace {

bool IsZero(const Buffer& buffer) {
  const auto* bytes = static_cast<const char*>(buffer.data());
  return std::all_of(bytes, bytes + buffer.size(), [](char byte) { return byte == 0; });
}

TEST(ArenaTest, AllocationsAreZeroedAlignedAndApart) {
  Arena arena;
  std::vector<Buffer> buffers;
  for (const size_t bytes : std::vector<size_t>{1, 100, 3 << 20, 64, 1 << 20, 30 << 20, 7}) {
    buffers.push_back(*arena.Allocate(bytes));
    ASSERT_EQ(buffers.back().size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffers.back().data()) % 64, 0);
    EXPECT_TRUE(IsZero(buffers.back())) << bytes;  // and so shares no byte with those before
    std::memset(buffers.back().data(), 1, bytes);
  }
}

TEST(ArenaTest, SmallAllocationsAreNeighbours) {
  Arena arena;
  const Buffer first = *arena.Allocate(1000);
  const Buffer second = *arena.Allocate(1000);
  EXPECT_EQ(static_cast<char*>(second.data()) - static_cast<char*>(first.data()), 1024);
}

TEST(ArenaTest, TooMuchIsAnErrorThatLeavesTheRestUsable) {
  Arena arena;
  EXPECT_EQ(arena.Allocate(SIZE_MAX - 100).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(arena.Allocate(1000).ok());
}

}  // namespace
}  // namespace spade
