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

// Another GPU as the thread's current one, for a while.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    CheckCuda(cudaGetDevice(&before_), "the current GPU");
    CheckCuda(cudaSetDevice(device), "choice of a GPU");
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;
  ~DeviceScope() { (void)cudaSetDevice(before_); }

 private:
  int before_ = 0;
};

}  // namespace spade::cuda
