#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/buffer.h"
#include "kernels/dtype.h"

namespace spade::cuda {

// out (+)= x W^T by cuBLAS, sums in F32. The order of a sum is the library's: it depends on the
// shapes, so a row's bits depend on how many rows share the call.
class Gemm {
 public:
  // RESOURCE_EXHAUSTED where the workspace does not fit.
  static absl::StatusOr<std::unique_ptr<Gemm>> Create(cudaStream_t stream);
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;
  ~Gemm();

  struct Shape {
    int64_t rows = 0;
    int64_t out_features = 0;
    int64_t in_features = 0;
    int64_t x_stride = 0;
    int64_t weight_stride = 0;
    int64_t out_stride = 0;
    bool accumulate = false;
  };
  void MultiplyF32(const Shape& shape, const float* x, const float* weight, float* out);
  // `type`: of x and weight, F16 or BF16.
  void Multiply16(DType type, const Shape& shape, const uint16_t* x, const uint16_t* weight,
                  float* out);

 private:
  Gemm() = default;
  void Multiply(const Shape& shape, cudaDataType_t type, const void* x, const void* weight,
                float* out);

  cublasHandle_t handle_ = nullptr;
  Buffer workspace_;
};

}  // namespace spade::cuda
