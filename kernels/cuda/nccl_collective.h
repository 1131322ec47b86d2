#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/parallel/collective.h"

namespace spade::cuda {

// Shard s is GPU s, whose operations are queued on streams[s]. INTERNAL, with NCCL's words, where
// it cannot join the GPUs. A sum of two has the same bits in any batch; the order of more is
// NCCL's.
absl::StatusOr<std::unique_ptr<Collective>> MakeNcclCollective(
    std::span<const cudaStream_t> streams);

}  // namespace spade::cuda
