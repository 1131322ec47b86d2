// Several emulated GPUs, and the stub of NCCL that joins them.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <vector>

#include "emulator/devices.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch.h"

namespace spade::cuda_emulation {
namespace {

using cuda::DeviceScope;

constexpr int kGpus = 2;
constexpr int64_t kCount = 3;

struct Args {
  float* out = nullptr;
  bool flag = false;
};
void SetToOne(Args args) { args.out[0] = 1; }

// Floats of one GPU's memory.
class Floats {
 public:
  Floats(int device, const std::vector<float>& values) : size_(values.size()) {
    const DeviceScope scope(device);
    buffer_ = *cuda::AllocateDevice(values.size() * sizeof(float));
    cudaMemcpyAsync(data(), values.data(), buffer_.size(), cudaMemcpyHostToDevice, nullptr);
  }
  float* data() const { return static_cast<float*>(buffer_.data()); }
  std::vector<float> Read() const { return {data(), data() + size_}; }

 private:
  Buffer buffer_;
  size_t size_;
};

class NcclTest : public ::testing::Test {
 protected:
  NcclTest() {
    const int devices[kGpus] = {0, 1};
    ncclCommInitAll(comms_, kGpus, devices);
  }
  ~NcclTest() override {
    for (ncclComm_t comm : comms_) ncclCommDestroy(comm);
  }

  void Add(const Floats& floats, int rank, size_t count = kCount) {
    ncclAllReduce(floats.data(), floats.data(), count, ncclFloat, ncclSum, comms_[rank], nullptr);
  }

  ncclComm_t comms_[kGpus];
  const Floats first_{0, {1, 2, 3}};
  const Floats second_{1, {10, 20, 30}};
};

TEST_F(NcclTest, EveryRankGetsTheSum) {
  ncclGroupStart();
  Add(first_, 0);
  Add(second_, 1);
  EXPECT_EQ(first_.Read(), (std::vector<float>{1, 2, 3})) << "before the group has ended";
  ncclGroupEnd();
  EXPECT_EQ(first_.Read(), (std::vector<float>{11, 22, 33}));
  EXPECT_EQ(second_.Read(), (std::vector<float>{11, 22, 33}));
}

using NcclDeathTest = NcclTest;

TEST_F(NcclDeathTest, ACallOutsideOfAGroupWouldHang) { EXPECT_DEATH(Add(first_, 0), "in_group"); }

TEST_F(NcclDeathTest, ARankThatIsMissingWouldHang) {
  const auto group = [&] {
    ncclGroupStart();
    Add(first_, 0);
    ncclGroupEnd();
  };
  EXPECT_DEATH(group(), "is_made");
}

TEST_F(NcclDeathTest, RanksThatCountOtherwiseWouldHang) {
  const auto group = [&] {
    ncclGroupStart();
    Add(first_, 0);
    Add(second_, 1, 2);
    ncclGroupEnd();
  };
  EXPECT_DEATH(group(), "count");
}

TEST_F(NcclDeathTest, AnotherGpusMemoryIsRefused) {
  const auto group = [&] {
    ncclGroupStart();
    Add(first_, 1);
  };
  EXPECT_DEATH(group(), "DeviceOf");
}

TEST(GpusDeathTest, AKernelFaultsOnAnotherGpusMemory) {
  if (!kChecksPointers) GTEST_SKIP() << "not with this compiler";
  const Floats floats(1, {0, 0});
  const cuda::LaunchShape shape = {dim3(1), 32};
  EXPECT_DEATH(cuda::Launch(SetToOne, shape, nullptr, Args{floats.data()}), "current_device");
  EXPECT_DEATH(cuda::Launch(SetToOne, shape, nullptr, Args{floats.data() + 1}), "current_device");
  const DeviceScope scope(1);
  cuda::Launch(SetToOne, shape, nullptr, Args{floats.data()});
  EXPECT_EQ(floats.Read(), (std::vector<float>{1, 0}));
}

TEST(GpusDeathTest, ACopyFaultsOnAnotherGpusMemory) {
  const Floats floats(1, {5});
  float host = 0;
  const auto copy = [&] {
    cudaMemcpyAsync(&host, floats.data(), sizeof(host), cudaMemcpyDeviceToHost, nullptr);
  };
  EXPECT_DEATH(copy(), "current_device");
  const DeviceScope scope(1);
  copy();
  EXPECT_EQ(host, 5);
}

TEST(GpusTest, AScopeEndsWhereItBegan) {
  {
    const DeviceScope outer(2);
    const DeviceScope inner(3);
    EXPECT_EQ(CurrentDevice(), 3);
  }
  EXPECT_EQ(CurrentDevice(), 0);
}

}  // namespace
}  // namespace spade::cuda_emulation
