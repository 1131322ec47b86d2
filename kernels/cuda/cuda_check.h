#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>

namespace spade::cuda {

// For calls that fail by our own bug or by a broken device only; allocation is an absl::Status.
inline void CheckCuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s: %s\n", what, cudaGetErrorString(error));
  std::abort();
}

}  // namespace spade::cuda
