#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <tuple>
#include <utility>

#include "emulator/block.h"
#include "emulator/devices.h"
#include "emulator/stream.h"
#include "kernels/cuda/cuda_check.h"

// In place of kernels/cuda/launch.h: runs a kernel's blocks one after another, on the thread that
// waits for the stream.

namespace spade::cuda {

struct LaunchShape {
  dim3 grid;
  unsigned threads = 0;
  size_t shared_bytes = 0;
};

template <class... Params, class... Args>
void Launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
            Args&&... args) {
  std::tuple<Params...> copies(args...);
  std::apply([](const auto&... copy) { (cuda_emulation::CheckPointers(copy), ...); }, copies);
  cuda_emulation::Queue(stream, [kernel, shape, copies = std::move(copies)] {
    cuda_emulation::RunGrid({shape.grid, shape.threads, shape.shared_bytes},
                            [&] { std::apply(kernel, copies); });
  });
}

template <class T>
T* DynamicShared() {
  return static_cast<T*>(cuda_emulation::SharedMemory());
}

}  // namespace spade::cuda
