#include "engine/runtime/memory_plan.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/testing/temp_dir.h"

namespace spade {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// A /proc and a /sys/fs/cgroup of our own.
class MemoryPlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(dir_.File("proc/self"));
    std::filesystem::create_directories(dir_.File("cgroup/pod/box"));
    dir_.Write("proc/meminfo", "MemTotal: 999999 kB\nMemAvailable:    8192 kB\n");
    dir_.Write("proc/self/cgroup", "0::/pod/box\n");
  }
  MemorySources sources() const { return {dir_.File("proc"), dir_.File("cgroup")}; }

  testing::TempDir dir_;
};

TEST_F(MemoryPlanTest, WithoutLimitsTheMachineDecides) {
  dir_.Write("cgroup/pod/box/memory.max", "max\n");
  EXPECT_EQ(AvailableMemory(sources()), 8 * kMiB);
}

TEST_F(MemoryPlanTest, ACgroupAboveLimits) {
  dir_.Write("cgroup/pod/memory.max", "4194304\n");
  dir_.Write("cgroup/pod/memory.current", "1048576\n");
  EXPECT_EQ(AvailableMemory(sources()), 3 * kMiB);
}

TEST_F(MemoryPlanTest, CleanPageCacheIsFree) {
  dir_.Write("cgroup/pod/box/memory.max", "4194304\n");
  dir_.Write("cgroup/pod/box/memory.current", "3145728\n");
  dir_.Write("cgroup/pod/box/memory.stat", "anon 5\ninactive_file 2097152\n");
  EXPECT_EQ(AvailableMemory(sources()), 3 * kMiB);
}

TEST(MemoryTest, NothingReadableIsZero) {
  EXPECT_EQ(AvailableMemory({"/nonexistent", "/nonexistent"}), 0);
  EXPECT_EQ(ResidentMemory({"/nonexistent", "/nonexistent"}), 0);
}

TEST(MemoryTest, ThisProcessIsResident) { EXPECT_GT(ResidentMemory(MemorySources{}), kMiB); }

KvDemand SomeDemand() {
  KvDemand demand;
  demand.shape = KvShape{2, 2, 64, 16, DType::kF32};  // 32 KiB a block
  demand.available_bytes = 64 * kMiB;
  demand.max_sequences = 1000;
  demand.max_context = 4096;
  return demand;
}

TEST(PlanKvBlocksTest, TakesAQuarterByItself) {
  EXPECT_EQ(*PlanKvBlocks(SomeDemand()), 16 * kMiB / (32 << 10));
}

TEST(PlanKvBlocksTest, TakesMoreOfADevice) {
  KvDemand demand = SomeDemand();
  demand.share = 0.75;
  EXPECT_EQ(*PlanKvBlocks(demand), 48 * kMiB / (32 << 10));
}

TEST(PlanKvBlocksTest, TakesNoMoreThanCanBeUsed) {
  KvDemand demand = SomeDemand();
  demand.max_sequences = 2;
  demand.max_context = 64;
  EXPECT_EQ(*PlanKvBlocks(demand), 16);  // twice two sequences of four blocks
}

TEST(PlanKvBlocksTest, ObeysABudget) {
  KvDemand demand = SomeDemand();
  demand.budget_bytes = 3 * (32 << 10) + 5;
  EXPECT_EQ(*PlanKvBlocks(demand), 3);
}

TEST(PlanKvBlocksTest, RefusesLessThanABlock) {
  KvDemand demand = SomeDemand();
  demand.budget_bytes = 100;
  EXPECT_EQ(PlanKvBlocks(demand).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(PlanKvBlocksTest, RefusesMoreThanThereIs) {
  KvDemand demand = SomeDemand();
  demand.budget_bytes = 65 * kMiB;
  EXPECT_EQ(PlanKvBlocks(demand).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace spade
