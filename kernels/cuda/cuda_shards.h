#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace spade {

// Tensor parallelism over the first options.tensor_parallel GPUs, which is 2 or more, joined by
// NCCL. INVALID_ARGUMENT where this build has no NCCL, the machine fewer GPUs, or
// `batch_invariant` is asked of more than two: NCCL adds more than two summands in an order that
// hangs on their number and place.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaShards(const BackendOptions& options);

}  // namespace spade
