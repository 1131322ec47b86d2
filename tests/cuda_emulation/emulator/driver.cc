// The CUDA runtime and cuBLAS on the host.
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "emulator/bus.h"
#include "emulator/devices.h"
#include "emulator/stream.h"
#include "kernels/check.h"
#include "kernels/dtype.h"

using spade::cuda_emulation::CheckMemory;
using spade::cuda_emulation::ForbidInCapture;
using spade::cuda_emulation::IsCapturing;
using spade::cuda_emulation::Queue;

namespace {

// A GPU's memory, to be refused where a test asks for more.
constexpr size_t kDeviceBytes = size_t{8} << 30;
constexpr size_t kAlignment = 256;
size_t free_bytes = kDeviceBytes;

// Page-locked memory: begin and bytes.
std::map<const std::byte*, size_t>& Pinned() {
  static auto* const pinned = new std::map<const std::byte*, size_t>();
  return *pinned;
}

bool IsPinned(const void* data, size_t bytes) {
  const auto* first = static_cast<const std::byte*>(data);
  auto found = Pinned().upper_bound(first);
  if (found == Pinned().begin()) return false;
  --found;
  return first + bytes <= found->first + found->second;
}

std::atomic<int64_t> bytes_to_host{0};
std::atomic<int64_t> bytes_to_device{0};

cudaError_t AllocateBytes(void** data, size_t bytes, bool poison) {
  if (bytes > kDeviceBytes) return cudaErrorMemoryAllocation;
  // Not rounded up: AddressSanitizer then knows where it ends.
  if (posix_memalign(data, kAlignment, bytes) != 0) return cudaErrorMemoryAllocation;
  // Fresh memory of a GPU holds anything; large scratch stays untouched, for the time it takes.
  constexpr size_t kMaxPoison = size_t{1} << 20;
  if (poison) std::memset(*data, 0xff, bytes < kMaxPoison ? bytes : kMaxPoison);
  return cudaSuccess;
}

float ElementAt(const void* data, cudaDataType_t type, int64_t index) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[index];
  const uint16_t bits = static_cast<const uint16_t*>(data)[index];
  return type == CUDA_R_16F ? spade::F16ToFloat(bits) : spade::BF16ToFloat(bits);
}

}  // namespace

namespace spade::cuda_emulation {
int64_t BytesToHost() { return bytes_to_host; }
int64_t BytesToDevice() { return bytes_to_device; }
}  // namespace spade::cuda_emulation

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "out of memory";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = spade::cuda_emulation::kNumDevices;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = spade::cuda_emulation::CurrentDevice();
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= spade::cuda_emulation::kNumDevices) return cudaErrorInvalidValue;
  spade::cuda_emulation::SetCurrentDevice(device);
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof(properties->name), "emulated");
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 4;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** data, size_t bytes) {
  ForbidInCapture("cudaMalloc");
  const cudaError_t error = AllocateBytes(data, bytes, true);
  if (error == cudaSuccess) spade::cuda_emulation::AddMemory(*data, bytes);
  return error;
}
// Waits for the GPU, as CUDA does.
cudaError_t cudaFree(void* data) {
  ForbidInCapture("cudaFree");
  spade::cuda_emulation::RunAllQueued();
  spade::cuda_emulation::RemoveMemory(data);
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, size_t bytes) {
  ForbidInCapture("cudaMallocHost");
  const cudaError_t error = AllocateBytes(data, bytes, false);
  if (error == cudaSuccess) Pinned()[static_cast<const std::byte*>(*data)] = bytes;
  return error;
}
cudaError_t cudaFreeHost(void* data) {
  ForbidInCapture("cudaFreeHost");
  spade::cuda_emulation::RunAllQueued();
  Pinned().erase(static_cast<const std::byte*>(data));
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = free_bytes;
  *total = kDeviceBytes;
  return cudaSuccess;
}
void spade::cuda_emulation::SetFreeDeviceBytes(size_t bytes) { free_bytes = bytes; }

// Pageable memory is read before the call returns, and written before it returns.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  CheckMemory(to);
  CheckMemory(from);
  auto& crossed = kind == cudaMemcpyDeviceToHost ? bytes_to_host : bytes_to_device;
  crossed.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  const void* host = kind == cudaMemcpyHostToDevice ? from : to;
  if (IsPinned(host, bytes)) {
    Queue(stream, [=] { std::memcpy(to, from, bytes); });
    return cudaSuccess;
  }
  ForbidInCapture("cudaMemcpyAsync of pageable memory");
  if (kind == cudaMemcpyHostToDevice) {
    const auto* first = static_cast<const std::byte*>(from);
    Queue(stream, [=, staged = std::vector<std::byte>(first, first + bytes)] {
      std::memcpy(to, staged.data(), bytes);
    });
    return cudaSuccess;
  }
  spade::cuda_emulation::RunQueued(stream);
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  CheckMemory(data);
  Queue(stream, [=] { std::memset(data, value, bytes); });
  return cudaSuccess;
}

struct cublasContext {
  cudaStream_t stream = nullptr;
  bool has_workspace = false;
};

const char* cublasGetStatusString(cublasStatus_t) { return "success"; }
cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext();
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void*, size_t) {
  handle->has_workspace = true;
  return CUBLAS_STATUS_SUCCESS;
}

// c(m, n) = alpha a^T b + beta c, column-major: column j of c is a row of ours.
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                            int m, int n, int k, const void* alpha, const void* a,
                            cudaDataType_t a_type, int lda, const void* b, cudaDataType_t b_type,
                            int ldb, const void* beta, void* c, cudaDataType_t c_type, int ldc,
                            cublasComputeType_t, cublasGemmAlgo_t) {
  SPADE_CHECK(op_a == CUBLAS_OP_T && op_b == CUBLAS_OP_N && c_type == CUDA_R_32F);
  for (const void* matrix : {a, b, static_cast<const void*>(c)}) CheckMemory(matrix);
  SPADE_CHECK(lda >= k && ldb >= k && ldc >= m && a_type == b_type);
  // Without one it allocates.
  SPADE_CHECK(handle->has_workspace || !IsCapturing(handle->stream));
  const float scale = *static_cast<const float*>(alpha);
  const float keep = *static_cast<const float*>(beta);
  Queue(handle->stream, [=] {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < m; ++i) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l) {
          sum += double{ElementAt(a, a_type, i * lda + l)} * ElementAt(b, b_type, j * ldb + l);
        }
        float* out = static_cast<float*>(c) + j * ldc + i;
        // As cuBLAS: what is not kept is not read.
        *out = static_cast<float>(scale * sum + (keep != 0 ? double{keep} * *out : 0.0));
      }
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}
