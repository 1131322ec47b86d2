// The CUDA runtime and cuBLAS on the host.
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/check.h"
#include "kernels/dtype.h"

namespace {

// A GPU's memory, to be refused where a test asks for more.
constexpr size_t kDeviceBytes = size_t{8} << 30;
constexpr size_t kAlignment = 256;

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
  return spade::BF16ToFloat(static_cast<const uint16_t*>(data)[index]);
}

}  // namespace

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "out of memory";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof(properties->name), "emulated");
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 4;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** data, size_t bytes) { return AllocateBytes(data, bytes, true); }
cudaError_t cudaFree(void* data) {
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** data, size_t bytes) { return AllocateBytes(data, bytes, false); }
cudaError_t cudaFreeHost(void* data) { return cudaFree(data); }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = kDeviceBytes;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t) {
  std::memset(data, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

const char* cublasGetStatusString(cublasStatus_t) { return "success"; }
cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = nullptr;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, size_t) { return CUBLAS_STATUS_SUCCESS; }

// c(m, n) = alpha a^T b + beta c, column-major: column j of c is a row of ours.
cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType_t a_type,
                            int lda, const void* b, cudaDataType_t b_type, int ldb,
                            const void* beta, void* c, cudaDataType_t c_type, int ldc,
                            cublasComputeType_t, cublasGemmAlgo_t) {
  SPADE_CHECK(op_a == CUBLAS_OP_T && op_b == CUBLAS_OP_N && c_type == CUDA_R_32F);
  SPADE_CHECK(lda >= k && ldb >= k && ldc >= m);
  const float scale = *static_cast<const float*>(alpha);
  const float keep = *static_cast<const float*>(beta);
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
  return CUBLAS_STATUS_SUCCESS;
}
