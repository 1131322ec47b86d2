#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/buffer.h"

namespace spade::cuda {

// `bytes` of the GPU's memory, not cleared, aligned to 256 bytes. RESOURCE_EXHAUSTED where there is
// no room.
absl::StatusOr<Buffer> AllocateDevice(size_t bytes);

// Host memory that the GPU copies from and to while the host goes on. Not cleared.
Buffer AllocatePinned(size_t bytes);

// Carries small arrays to the GPU without making the host wait: a pinned copy, a device copy, and
// an event that says when the first is free again. Grows on demand; never in a steady state.
class Courier {
 public:
  explicit Courier(cudaStream_t stream);
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;
  ~Courier();

  // Queues the copy of all `parts`, one after another; the device address of the first. Valid for
  // what is queued on the stream before the next Send.
  const int32_t* Send(std::span<const std::span<const int32_t>> parts);
  const int32_t* Send(std::span<const int32_t> part) { return Send({&part, 1}); }

 private:
  void Reserve(size_t bytes);

  cudaStream_t stream_;
  cudaEvent_t copied_ = nullptr;
  Buffer pinned_;
  Buffer device_;
};

}  // namespace spade::cuda
