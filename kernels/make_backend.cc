#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/parallel/tensor_parallel.h"
#ifdef SPADE_CUDA
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_shards.h"
#endif

namespace spade {
namespace {

constexpr const char kCpu[] = "cpu";
constexpr const char kCuda[] = "cuda";
constexpr int32_t kMaxShards = 64;

#ifdef SPADE_CUDA
absl::StatusOr<std::unique_ptr<Backend>> MakeCuda(const BackendOptions& options) {
  if (options.tensor_parallel > 1) return MakeCudaShards(options);
  return CudaBackend::Create(options);
}
#else
absl::StatusOr<std::unique_ptr<Backend>> MakeCuda(const BackendOptions&) {
  return absl::InvalidArgumentError(
      "device 'cuda' is not in this build, which has: cpu; build with -DSPADE_CUDA=ON (CUDA "
      "toolkit "
      "13: tools/setup --cuda), or use the container image's target cuda");
}
#endif

absl::StatusOr<std::unique_ptr<Backend>> MakeCpu(const BackendOptions& options) {
  absl::StatusOr<Isa> isa = SelectIsa(options.cpu_isa);
  if (!isa.ok()) return isa.status();
  std::vector<std::unique_ptr<Backend>> shards;
  for (int32_t shard = 0; shard < options.tensor_parallel; ++shard) {
    shards.push_back(std::make_unique<CpuBackend>(*isa, options.compute, options.num_threads,
                                                  options.pin_threads));
  }
  if (shards.size() == 1) return std::move(shards.front());
  return std::make_unique<TensorParallelBackend>(std::move(shards), MakeHostCollective());
}

}  // namespace

bool Suits(const BackendOptions& options, Compute compute, DType weights) {
  const bool on_gpu = options.device == kCuda;
  switch (compute) {
    case Compute::kF32:
      return true;
    case Compute::kF16:
      return on_gpu && weights == DType::kF16;
    case Compute::kBF16:
      return weights == DType::kBF16 || (on_gpu && weights == DType::kI8);
    case Compute::kI8:
      return !on_gpu && weights == DType::kI8;
  }
  return false;
}

Compute BestCompute(const BackendOptions& options, DType weights) {
  if (options.device != kCuda) {
    const absl::StatusOr<Isa> isa = SelectIsa(options.cpu_isa);
    if (!isa.ok() || GetBF16MatMulKernels(*isa) == nullptr) return Compute::kF32;
  }
  for (const Compute compute : {Compute::kBF16, Compute::kF16}) {
    if (Suits(options, compute, weights)) return compute;
  }
  return Compute::kF32;
}

DType BestKvType(const BackendOptions& options) {
  return options.device == kCuda && options.compute != Compute::kF32 ? DType::kBF16 : DType::kF32;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const BackendOptions& options) {
  if (options.num_threads < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_threads is ", options.num_threads, "; use 0 for one per core, or more"));
  }
  if (options.tensor_parallel < 1 || options.tensor_parallel > kMaxShards) {
    return absl::InvalidArgumentError(absl::StrCat("tensor_parallel is ", options.tensor_parallel,
                                                   "; use 1 for one device, or up to ",
                                                   kMaxShards));
  }
  if (options.device == kCpu && options.compute == Compute::kF16) {
    return absl::InvalidArgumentError(
        "compute: f16 products are on GPUs only; use f32 or, with bf16 weights, bf16");
  }
  if (options.device == kCpu) return MakeCpu(options);
  if (options.device == kCuda && options.compute == Compute::kI8) {
    return absl::InvalidArgumentError(
        "compute: int8 products are on the CPU only; use bf16 or f32");
  }
  if (options.device == kCuda) return MakeCuda(options);
  return absl::InvalidArgumentError(
      absl::StrCat("device '", options.device, "' is unknown; use cpu or cuda"));
}

}  // namespace spade
