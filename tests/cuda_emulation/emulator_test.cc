// The emulator itself: it must run what a GPU runs, and refuse what a GPU may hang on.
#include <cuda_runtime.h>

#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"

namespace spade::cuda {
namespace {

using cuda_emulation::RunOrder;
using cuda_emulation::SetRunOrder;

constexpr int kThreads = 64;

__global__ void IndexKernel(int* out) {
  const auto index = blockIdx.x * blockDim.x + threadIdx.x;
  out[index] = static_cast<int>(index);
}

// Sums over the block through shared memory.
__global__ void SumKernel(const float* in, float* out) {
  __shared__ float sums[2];
  const float sum = WarpSum(in[threadIdx.x]);
  if (Lane() == 0) sums[WarpIndex()] = sum;
  __syncthreads();
  out[threadIdx.x] = sums[0] + sums[1];
}

// The same without the barrier.
__global__ void RacyKernel(const float* in, float* out) {
  __shared__ float sums[2];
  const float sum = WarpSum(in[threadIdx.x]);
  if (Lane() == 0) sums[WarpIndex()] = sum;
  out[threadIdx.x] = sums[0] + sums[1];
}

__global__ void TransposeKernel(float* out) {
  float values[4] = {1, 10, 100, 1000};
  const float sum = SumTransposed<8>(values);
  out[threadIdx.x] = sum * 10 + static_cast<float>(TransposedIndex<4>());
}

__global__ void LateKernel() {
  if (threadIdx.x == 3) return;
  __syncthreads();
}

__global__ void DynamicKernel(float* out) {
  float* shared = DynamicShared<float>();
  out[threadIdx.x] = shared[threadIdx.x];
}

std::vector<float> ResultOf(void (*kernel)(const float*, float*), RunOrder order) {
  std::vector<float> in(kThreads);
  std::iota(in.begin(), in.end(), 0.0f);
  std::vector<float> out(kThreads);
  SetRunOrder(order);
  for (int i = 0; i < 2; ++i) {  // what the first run leaves in shared memory is not this run's
    Launch(kernel, {dim3(1), kThreads}, nullptr, in.data(), out.data());
    std::fill(in.begin(), in.end(), 1.0f);
  }
  SetRunOrder(RunOrder::kForward);
  return out;
}

TEST(EmulatorTest, EveryThreadOfEveryBlockRunsOnce) {
  std::vector<int> out(3 * kThreads, -1);
  Launch(IndexKernel, {dim3(3), kThreads}, nullptr, out.data());
  std::vector<int> expected(out.size());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(out, expected);
}

TEST(EmulatorTest, BarriersAndShufflesWorkInAnyOrder) {
  for (const RunOrder order : {RunOrder::kForward, RunOrder::kReverse, RunOrder::kShuffled}) {
    EXPECT_EQ(ResultOf(SumKernel, order), std::vector<float>(kThreads, 64.0f));
  }
}

TEST(EmulatorTest, OrdersShowARace) {
  EXPECT_NE(ResultOf(RacyKernel, RunOrder::kForward), ResultOf(RacyKernel, RunOrder::kReverse));
}

TEST(EmulatorTest, TransposedSumsGoToTheLaneOfTheirIndex) {
  std::vector<float> out(32);
  Launch(TransposeKernel, {dim3(1), 32}, nullptr, out.data());
  const float powers[] = {1, 10, 100, 1000};
  for (const float value : out) {
    const int index = static_cast<int>(value) % 10;
    EXPECT_EQ(value, powers[index] * 8 * 10 + static_cast<float>(index));
  }
}

TEST(EmulatorTest, DynamicSharedMemoryStartsAsNaN) {
  std::vector<float> out(kThreads);
  Launch(DynamicKernel, {dim3(1), kThreads, kThreads * sizeof(float)}, nullptr, out.data());
  EXPECT_TRUE(std::isnan(out[5]));
}

TEST(EmulatorDeathTest, RefusesABarrierThatAThreadDoesNotReach) {
  EXPECT_DEATH(Launch(LateKernel, {dim3(1), kThreads}, nullptr), "progress");
}

}  // namespace
}  // namespace spade::cuda
