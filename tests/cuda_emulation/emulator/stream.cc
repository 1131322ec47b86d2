#include "emulator/stream.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/check.h"

namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

struct CUstream_st {
  std::deque<spade::cuda_emulation::Work> queued;
  int64_t num_queued = 0;  // since its creation, like num_done
  int64_t num_done = 0;
  std::optional<std::vector<spade::cuda_emulation::Work>> captured;  // while it captures
};

struct CUevent_st {
  cudaStream_t stream = nullptr;
  int64_t place = 0;  // in the stream
  bool timed = false;
  std::shared_ptr<Clock::time_point> time = std::make_shared<Clock::time_point>();

  bool IsOver() const { return stream == nullptr || stream->num_done >= place; }
};

struct CUgraph_st {
  std::vector<spade::cuda_emulation::Work> work;
};
struct CUgraphExec_st {
  std::vector<spade::cuda_emulation::Work> work;
};

namespace spade::cuda_emulation {
namespace {

struct Streams {
  std::vector<cudaStream_t> all;
  StreamCounts counts;
};

Streams& TheStreams() {
  static auto* const streams = new Streams();
  return *streams;
}

void Append(cudaStream_t stream, Work work) {
  ++stream->num_queued;
  stream->queued.push_back(std::move(work));
}

void RunUntil(cudaStream_t stream, int64_t place) {
  while (stream->num_done < place) {
    const Work work = std::move(stream->queued.front());
    stream->queued.pop_front();
    ++stream->num_done;
    work();
  }
}

void WaitFor(cudaStream_t stream, int64_t place) {
  if (stream->num_done < place) ++TheStreams().counts.waits;
  RunUntil(stream, place);
}

}  // namespace

void Queue(cudaStream_t stream, Work work) {
  if (stream == nullptr) return work();
  if (stream->captured) return stream->captured->push_back(std::move(work));
  ++TheStreams().counts.queued;
  Append(stream, std::move(work));
}

void RunQueued(cudaStream_t stream) {
  if (stream != nullptr) WaitFor(stream, stream->num_queued);
}

void RunAllQueued() {
  for (cudaStream_t stream : TheStreams().all) RunUntil(stream, stream->num_queued);
}

bool IsCapturing(cudaStream_t stream) { return stream != nullptr && stream->captured.has_value(); }

void ForbidInCapture(const char* call) {
  for (cudaStream_t stream : TheStreams().all) {
    if (!stream->captured) continue;
    std::fprintf(stderr, "%s while a stream captures\n", call);
    std::abort();
  }
}

const StreamCounts& Counts() { return TheStreams().counts; }

}  // namespace spade::cuda_emulation

using spade::cuda_emulation::ForbidInCapture;
using spade::cuda_emulation::TheStreams;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st();
  TheStreams().all.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  ForbidInCapture("cudaStreamDestroy");
  spade::cuda_emulation::RunUntil(stream, stream->num_queued);
  std::erase(TheStreams().all, stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ForbidInCapture("cudaStreamSynchronize");
  spade::cuda_emulation::RunQueued(stream);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st();
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  ForbidInCapture("cudaEventRecord");  // allowed on the stream itself, but of no use to us
  spade::cuda_emulation::Append(stream, [time = event->time] { *time = Clock::now(); });
  event->stream = stream;
  event->place = stream->num_queued;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ForbidInCapture("cudaEventSynchronize");
  if (event->stream != nullptr) spade::cuda_emulation::WaitFor(event->stream, event->place);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  SPADE_CHECK(from->timed && to->timed && from->IsOver() && to->IsOver());
  *milliseconds = std::chrono::duration<float, std::milli>(*to->time - *from->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  ForbidInCapture("cudaStreamBeginCapture");
  SPADE_CHECK(stream != nullptr);
  stream->captured.emplace();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  SPADE_CHECK(stream->captured.has_value());
  *graph = new CUgraph_st{*std::move(stream->captured)};
  stream->captured.reset();
  ++TheStreams().counts.captured;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  ForbidInCapture("cudaGraphInstantiate");
  *exec = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  ForbidInCapture("cudaGraphUpload");
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
// Launches under way keep what they need.
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  ForbidInCapture("cudaGraphExecDestroy");
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  ForbidInCapture("cudaGraphLaunch");
  ++TheStreams().counts.graph_launches;
  for (const auto& work : exec->work) spade::cuda_emulation::Append(stream, work);
  return cudaSuccess;
}
