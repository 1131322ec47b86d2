#include "kernels/backend.h"

#include <atomic>
#include <cstdint>

#include "gmock/gmock.h"
#include "tests/kernels/device_test.h"

namespace spade::testing {
namespace {

using ::testing::HasSubstr;

TEST(MakeBackendTest, UnknownDeviceNamesThoseThatExist) {
  const absl::Status status = MakeBackend({.device = "tpu"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cpu"));
}

TEST(MakeBackendTest, CudaElsewhereSaysWhatToDo) {
  const absl::Status status = MakeBackend({.device = "cuda"}).status();
  if (status.ok()) GTEST_SKIP() << "there is a GPU";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              ::testing::AnyOf(HasSubstr("-DSPADE_CUDA=ON"), HasSubstr("--device cpu")));
}

TEST(MakeBackendTest, UnknownIsaNamesThoseThatExist) {
  const absl::Status status = MakeBackend({.cpu_isa = "mmx"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("portable"));
}

TEST(MakeBackendTest, RefusesNegativeThreads) {
  EXPECT_EQ(MakeBackend({.num_threads = -1}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MakeBackendTest, DescriptionNamesIsaProductsAndThreads) {
  const auto backend = MakeBackend({.num_threads = 2, .cpu_isa = "portable"});
  ASSERT_TRUE(backend.ok());
  EXPECT_EQ((*backend)->name(), "cpu");
  EXPECT_EQ((*backend)->description(), "cpu, portable, f32 products, 2 threads");
}

TEST(MakeBackendTest, IsaOfOneBackendDoesNotBindTheNext) {
  const auto portable = MakeBackend({.num_threads = 1, .cpu_isa = "portable"});
  const auto best = MakeBackend({.num_threads = 1});
  ASSERT_TRUE(portable.ok() && best.ok());
#if defined(__x86_64__)
  if (!MakeBackend({.num_threads = 1, .cpu_isa = "sse4"}).ok()) GTEST_SKIP() << "no SSE4";
  EXPECT_NE((*portable)->description(), (*best)->description());
#endif
}

using BackendTest = DeviceTest;

TEST_P(BackendTest, MemoryIsZeroed) {
  for (const int64_t floats : {1, 1000, 1 << 20}) {
    EXPECT_EQ(Empty(1, floats).Read(), std::vector<float>(floats, 0.0f));
  }
}

TEST_P(BackendTest, MemoryIsAligned) {
  for (const size_t bytes : {1, 100, 5'000'000}) {
    const Buffer buffer = *backend().Allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    EXPECT_EQ(buffer.size(), bytes);
  }
}

TEST_P(BackendTest, RefusesMoreMemoryThanThereCanBe) {
  EXPECT_EQ(backend().Allocate(SIZE_MAX - 100).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_P(BackendTest, HostViewShowsTheTensor) {
  const DeviceTensor tensor = Upload(2, 2, {1, 2, 3, 4});
  const float* host = backend().HostView(tensor.view());
  EXPECT_EQ(std::vector<float>(host, host + 4), (std::vector<float>{1, 2, 3, 4}));
}

TEST_P(BackendTest, ParallelForRunsEachIndexOnce) {
  std::vector<std::atomic<int>> runs(100);
  backend().ParallelFor(100, [&](int64_t i) { runs[i].fetch_add(1); });
  for (const std::atomic<int>& count : runs) EXPECT_EQ(count.load(), 1);
}

TEST_P(BackendTest, FreeMemoryIsTheDevicesOwn) {
  EXPECT_EQ(backend().FreeMemory().has_value(), GetParam().options.device != "cpu");
  EXPECT_GT(backend().FreeMemory().value_or(1), 0);
}

SPADE_DEVICE_SUITE(BackendTest);

}  // namespace
}  // namespace spade::testing
