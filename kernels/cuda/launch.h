#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#include "kernels/cuda/cuda_check.h"

namespace spade::cuda {

struct LaunchShape {
  dim3 grid;
  unsigned threads = 0;  // of a block
  size_t shared_bytes = 0;
};

// Runs a kernel on the stream; nothing where the grid is empty. The one place that launches.
template <class... Params, class... Args>
void Launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
            Args&&... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  kernel<<<shape.grid, shape.threads, shape.shared_bytes, stream>>>(std::forward<Args>(args)...);
  CheckCuda(cudaGetLastError(), "launch of a kernel");
}

// The block's LaunchShape::shared_bytes.
template <class T>
__device__ T* DynamicShared() {
  extern __shared__ __align__(16) unsigned char dynamic_shared[];
  return reinterpret_cast<T*>(dynamic_shared);
}

}  // namespace spade::cuda
