#include "kernels/cuda/device_memory.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/cuda_check.h"

namespace spade::cuda {
namespace {

constexpr size_t kFirstCourierBytes = size_t{64} << 10;

}  // namespace

absl::StatusOr<Buffer> AllocateDevice(size_t bytes) {
  if (bytes == 0) return Buffer();
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error == cudaSuccess) {
    return Buffer(data, bytes, [](void* memory, size_t) { (void)cudaFree(memory); });
  }
  (void)cudaGetLastError();  // or the next launch would report it
  size_t free = 0;
  size_t total = 0;
  (void)cudaMemGetInfo(&free, &total);
  return absl::ResourceExhaustedError(absl::StrCat(
      "cannot allocate ", bytes, " bytes of GPU memory (", free, " of ", total, " are free: ",
      cudaGetErrorString(error), "); use a smaller KV cache (--kv-memory), weight type or model"));
}

Buffer AllocatePinned(size_t bytes) {
  void* data = nullptr;
  CheckCuda(cudaMallocHost(&data, bytes), "allocation of pinned host memory");
  return Buffer(data, bytes, [](void* memory, size_t) { (void)cudaFreeHost(memory); });
}

Courier::Courier(cudaStream_t stream) : stream_(stream) {
  CheckCuda(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming), "creation of an event");
  Reserve(kFirstCourierBytes);
}

Courier::~Courier() { (void)cudaEventDestroy(copied_); }

void Courier::Reserve(size_t bytes) {
  if (bytes <= pinned_.size()) return;
  CheckCuda(cudaStreamSynchronize(stream_), "wait for the stream");
  const size_t grown = std::max(bytes, 2 * pinned_.size());
  absl::StatusOr<Buffer> device = AllocateDevice(grown);
  SPADE_CHECK(device.ok());
  device_ = *std::move(device);
  pinned_ = AllocatePinned(grown);
}

const int32_t* Courier::Send(std::span<const std::span<const int32_t>> parts) {
  size_t bytes = 0;
  for (const auto& part : parts) bytes += part.size_bytes();
  CheckCuda(cudaEventSynchronize(copied_), "wait for a copy");
  Reserve(bytes);
  auto* to = static_cast<std::byte*>(pinned_.data());
  for (const auto& part : parts) {
    if (!part.empty()) std::memcpy(to, part.data(), part.size_bytes());
    to += part.size_bytes();
  }
  CheckCuda(cudaMemcpyAsync(device_.data(), pinned_.data(), bytes, cudaMemcpyHostToDevice, stream_),
            "copy to the GPU");
  CheckCuda(cudaEventRecord(copied_, stream_), "record of an event");
  return static_cast<const int32_t*>(device_.data());
}

}  // namespace spade::cuda
