#include "kernels/cuda/gemm.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/device_memory.h"

namespace spade::cuda {
namespace {

// What cuBLAS recommends for Hopper; given to it, so that it allocates nothing in a step.
constexpr size_t kWorkspaceBytes = size_t{32} << 20;

void CheckCublas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  std::fprintf(stderr, "cuBLAS: %s: %s\n", what, cublasGetStatusString(status));
  std::abort();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Gemm>> Gemm::Create(cudaStream_t stream) {
  auto gemm = std::unique_ptr<Gemm>(new Gemm());
  const cublasStatus_t created = cublasCreate(&gemm->handle_);
  if (created != CUBLAS_STATUS_SUCCESS) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cuBLAS cannot start: ", cublasGetStatusString(created),
                     "; is another process filling the GPU's memory?"));
  }
  absl::StatusOr<Buffer> workspace = AllocateDevice(kWorkspaceBytes);
  if (!workspace.ok()) return workspace.status();
  gemm->workspace_ = *std::move(workspace);
  CheckCublas(cublasSetStream(gemm->handle_, stream), "choice of the stream");
  CheckCublas(cublasSetWorkspace(gemm->handle_, gemm->workspace_.data(), kWorkspaceBytes),
              "choice of the workspace");
  return gemm;
}

Gemm::~Gemm() {
  if (handle_ != nullptr) (void)cublasDestroy(handle_);
}

void Gemm::MultiplyF32(const Shape& shape, const float* x, const float* weight, float* out) {
  Multiply(shape, CUDA_R_32F, x, weight, out);
}

void Gemm::Multiply16(DType type, const Shape& shape, const uint16_t* x, const uint16_t* weight,
                      float* out) {
  Multiply(shape, type == DType::kF16 ? CUDA_R_16F : CUDA_R_16BF, x, weight, out);
}

// cuBLAS counts columns first: our row-major (out, in) weight is its (in, out), to be transposed.
void Gemm::Multiply(const Shape& shape, cudaDataType_t type, const void* x, const void* weight,
                    float* out) {
  const float one = 1;
  const float beta = shape.accumulate ? 1.0f : 0.0f;
  CheckCublas(
      cublasGemmEx(handle_, CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(shape.out_features),
                   static_cast<int>(shape.rows), static_cast<int>(shape.in_features), &one, weight,
                   type, static_cast<int>(shape.weight_stride), x, type,
                   static_cast<int>(shape.x_stride), &beta, out, CUDA_R_32F,
                   static_cast<int>(shape.out_stride), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      "product");
}

}  // namespace spade::cuda
