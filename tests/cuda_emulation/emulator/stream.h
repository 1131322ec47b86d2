#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "cuda_runtime_api.h"

// Streams of a GPU that is infinitely slow: what is queued runs when somebody waits for it, and not
// before, so that memory read or overwritten too early shows as a wrong result. While a stream
// captures, what is queued is recorded with its arguments, and whatever CUDA does not allow then
// ends the process. Not thread-safe.

namespace spade::cuda_emulation {

using Work = std::function<void()>;

// Queues or records it; without a stream it runs at once.
void Queue(cudaStream_t stream, Work work);
// Runs what the stream has queued, or all streams have.
void RunQueued(cudaStream_t stream);
void RunAllQueued();
// Ends the process where a stream captures.
void ForbidInCapture(const char* call);
bool IsCapturing(cudaStream_t stream);

// Since the start of the process.
struct StreamCounts {
  int64_t queued = 0;    // launches, copies and products by themselves; not recorded ones
  int64_t waits = 0;     // that found something to wait for
  int64_t captured = 0;  // graphs
  int64_t graph_launches = 0;
};
const StreamCounts& Counts();

// What cudaMemGetInfo says from now on.
void SetFreeDeviceBytes(size_t bytes);

}  // namespace spade::cuda_emulation
