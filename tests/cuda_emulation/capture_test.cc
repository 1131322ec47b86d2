// Streams, capture and graphs of the emulator, and which runs of operations the backend captures.
#include <cuda_runtime.h>

#include <memory>
#include <optional>
#include <vector>

#include "emulator/stream.h"
#include "gtest/gtest.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/launch.h"
#include "tests/kernels/device_test.h"

namespace spade::cuda {
namespace {

using cuda_emulation::Counts;

__global__ void AddKernel(const float* from, float amount, float* to) {
  if (threadIdx.x == 0) *to = *from + amount;
}

class StreamTest : public ::testing::Test {
 protected:
  StreamTest() { CheckCuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
  ~StreamTest() override { (void)cudaStreamDestroy(stream_); }

  void Add(const float* from, float amount, float* to) {
    Launch(AddKernel, {dim3(1), 32}, stream_, from, amount, to);
  }
  void BeginCapture() { (void)cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal); }

  cudaStream_t stream_ = nullptr;
};

TEST_F(StreamTest, DoesNothingUntilSomeoneWaits) {
  float value = 1;
  Add(&value, 1, &value);
  EXPECT_EQ(value, 1);
  cudaStreamSynchronize(stream_);
  EXPECT_EQ(value, 2);
}

TEST_F(StreamTest, AnEventIsWhatWasQueuedBeforeIt) {
  float value = 1;
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDefault);
  Add(&value, 1, &value);
  cudaEventRecord(event, stream_);
  Add(&value, 1, &value);
  cudaEventSynchronize(event);
  EXPECT_EQ(value, 2);
  cudaStreamSynchronize(stream_);
  EXPECT_EQ(value, 3);
  cudaEventDestroy(event);
}

TEST_F(StreamTest, PinnedMemoryIsReadLaterAndPageableAtOnce) {
  void* pinned = nullptr;
  cudaMallocHost(&pinned, sizeof(float));
  float pageable = 1;
  float to[2] = {};
  *static_cast<float*>(pinned) = 1;
  cudaMemcpyAsync(&to[0], pinned, sizeof(float), cudaMemcpyHostToDevice, stream_);
  cudaMemcpyAsync(&to[1], &pageable, sizeof(float), cudaMemcpyHostToDevice, stream_);
  *static_cast<float*>(pinned) = pageable = 2;
  cudaStreamSynchronize(stream_);
  EXPECT_EQ(to[0], 2);
  EXPECT_EQ(to[1], 1);
  cudaFreeHost(pinned);
}

TEST_F(StreamTest, AGraphKeepsArgumentsAndReadsMemoryAnew) {
  float from = 1;
  float amount = 10;
  float to = 0;
  BeginCapture();
  Add(&from, amount, &to);
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream_, &graph);
  cudaGraphExec_t exec = nullptr;
  cudaGraphInstantiate(&exec, graph);
  cudaGraphDestroy(graph);
  cudaStreamSynchronize(stream_);
  EXPECT_EQ(to, 0) << "capture runs nothing";
  for (const float value : {1.0f, 2.0f}) {
    from = value;
    amount = 20;
    cudaGraphLaunch(exec, stream_);
    cudaStreamSynchronize(stream_);
    EXPECT_EQ(to, value + 10);
  }
  cudaGraphExecDestroy(exec);
}

TEST_F(StreamTest, CaptureForbidsWhatCudaDoes) {
  float value = 0;
  void* data = nullptr;
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  EXPECT_DEATH((BeginCapture(), cudaStreamSynchronize(stream_)), "cudaStreamSynchronize while");
  EXPECT_DEATH((BeginCapture(), cudaMalloc(&data, 8)), "cudaMalloc while");
  EXPECT_DEATH((BeginCapture(), cudaFree(data)), "cudaFree while");
  EXPECT_DEATH((BeginCapture(), cudaEventSynchronize(event)), "cudaEventSynchronize while");
  EXPECT_DEATH((BeginCapture(),
                cudaMemcpyAsync(&value, &value, sizeof(value), cudaMemcpyHostToDevice, stream_)),
               "pageable memory while");
  cudaEventDestroy(event);
}

// ---- The backend

// What a run asked of the GPU.
struct Done {
  int64_t queued;
  int64_t captured;
  int64_t replayed;
  bool operator==(const Done&) const = default;
};
constexpr Done kLaunched = {3, 0, 0};
constexpr Done kCaptured = {0, 1, 1};
constexpr Done kReplayed = {0, 0, 1};

class CaptureTest : public ::testing::Test {
 protected:
  void Make(int32_t cuda_graphs) {
    backend_ = *MakeBackend({.device = "cuda", .num_threads = 1, .cuda_graphs = cuda_graphs});
    weight_.emplace(*backend_, 1, 8, std::vector<float>(8, 1.0f));
    x_.emplace(*backend_, 300, 8);
  }
  void TearDown() override { cuda_emulation::SetFreeDeviceBytes(size_t{8} << 30); }

  // Three operations on the first rows of a tensor.
  Done Run(int64_t rows) {
    const cuda_emulation::StreamCounts before = Counts();
    backend_->RunRepeatable(rows, [&] {
      for (int i = 0; i < 3; ++i) {
        const Tensor x = x_->view().Slice(0, rows);
        backend_->RmsNorm(x, weight_->data(), 1e-6f, x);
      }
    });
    return {Counts().queued - before.queued, Counts().captured - before.captured,
            Counts().graph_launches - before.graph_launches};
  }

  std::unique_ptr<Backend> backend_;
  std::optional<testing::DeviceTensor> weight_;
  std::optional<testing::DeviceTensor> x_;
};

TEST_F(CaptureTest, TheSecondRunIsCapturedAndReplayedFromThenOn) {
  Make(8);
  EXPECT_EQ(Run(2), kLaunched);
  EXPECT_EQ(Run(2), kCaptured);
  EXPECT_EQ(Run(2), kReplayed);
  EXPECT_EQ(Run(3), kLaunched) << "other rows";
  EXPECT_EQ(Run(2), kReplayed);
}

TEST_F(CaptureTest, TheLeastRecentlyUsedGraphMakesRoom) {
  Make(2);
  for (const int64_t rows : {1, 1, 2, 2, 1, 3}) Run(rows);
  EXPECT_EQ(Run(3), kCaptured) << "in place of 2";
  EXPECT_EQ(Run(1), kReplayed);
  EXPECT_EQ(Run(2), kCaptured) << "in place of 3";
  EXPECT_EQ(Run(1), kReplayed);
}

TEST_F(CaptureTest, NothingIsCapturedWhereOptionsSaySo) {
  Make(0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Run(2), kLaunched);
}

TEST_F(CaptureTest, NothingIsCapturedOfManyRows) {
  Make(8);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Run(300), kLaunched);
}

TEST_F(CaptureTest, NothingIsCapturedWhereMemoryIsLow) {
  Make(8);
  Run(2);
  Run(2);
  Run(3);
  cuda_emulation::SetFreeDeviceBytes(size_t{1} << 20);
  EXPECT_EQ(Run(3), kLaunched);
  EXPECT_EQ(Run(2), kLaunched) << "dropped, for what is short of memory";
  cuda_emulation::SetFreeDeviceBytes(size_t{1} << 30);
  EXPECT_EQ(Run(3), kCaptured);
}

TEST_F(CaptureTest, MemoryIsSetAsideForGraphs) {
  Make(0);
  const int64_t without = *backend_->FreeMemory();
  Make(100);
  EXPECT_EQ(without - *backend_->FreeMemory(), int64_t{100} << 20);
}

TEST_F(CaptureTest, AMarkDoesNotWaitAndATimeDoes) {
  Make(0);
  const Tensor x = x_->view();
  const Backend::TimeMark begin = backend_->MarkTime();
  const int64_t waits = Counts().waits;
  backend_->RmsNorm(x, weight_->data(), 1e-6f, x);
  const Backend::TimeMark end = backend_->MarkTime();
  EXPECT_EQ(Counts().waits, waits);
  EXPECT_GT(backend_->ElapsedSeconds(begin, end), 0);
  EXPECT_EQ(Counts().waits, waits + 1);
}

}  // namespace
}  // namespace spade::cuda
