#include "kernels/cuda/cuda_shards.h"

#include <cuda_runtime_api.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/parallel/tensor_parallel.h"
#ifdef SPADE_NCCL
#include "kernels/cuda/nccl_collective.h"
#endif

namespace spade {
namespace {

#ifdef SPADE_NCCL
absl::StatusOr<std::unique_ptr<Collective>> Join(std::span<const cudaStream_t> streams) {
  return cuda::MakeNcclCollective(streams);
}
constexpr bool kHasNccl = true;
#else
absl::StatusOr<std::unique_ptr<Collective>> Join(std::span<const cudaStream_t>) {
  return absl::UnimplementedError("no NCCL");
}
constexpr bool kHasNccl = false;
#endif

absl::Status CheckOptions(const BackendOptions& options) {
  if (!kHasNccl) {
    return absl::InvalidArgumentError(
        "tensor_parallel: this build has no NCCL; install libnccl-dev (deploy/docker/"
        "cuda-repository libnccl-dev) and build again, use the container image's target cuda, or "
        "--tensor-parallel 1");
  }
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    (void)cudaGetLastError();
    count = 0;
  }
  if (count < options.tensor_parallel) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor_parallel is ", options.tensor_parallel, ", but this machine shows ", count,
        " NVIDIA GPUs; check CUDA_VISIBLE_DEVICES, or lower --tensor-parallel"));
  }
  if (options.batch_invariant && options.tensor_parallel > 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor_parallel is ", options.tensor_parallel,
        ", and --batch-invariant holds for two GPUs at most: NCCL adds up more of them in an order "
        "that hangs on the batch; use --tensor-parallel 2, or leave one of the two out"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaShards(const BackendOptions& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  std::vector<std::unique_ptr<Backend>> shards;
  std::vector<cudaStream_t> streams;
  for (int32_t shard = 0; shard < options.tensor_parallel; ++shard) {
    const cuda::DeviceScope scope(shard);
    BackendOptions of_shard = options;
    if (shard > 0) of_shard.num_threads = 1;  // the host's own work is the first's
    absl::StatusOr<std::unique_ptr<CudaBackend>> backend = CudaBackend::Create(of_shard);
    if (!backend.ok()) return backend.status();
    streams.push_back((*backend)->stream());
    shards.push_back(*std::move(backend));
  }
  absl::StatusOr<std::unique_ptr<Collective>> collective = Join(streams);
  if (!collective.ok()) return collective.status();
  return std::make_unique<TensorParallelBackend>(std::move(shards), *std::move(collective));
}

}  // namespace spade
