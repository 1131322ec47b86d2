#pragma once

#include <memory>

#include "kernels/backend.h"

namespace spade::testing {

// A slow Backend that shares no code with the real ones: plain loops, sums in double precision,
// unpacked weights, KV blocks in the order that KvView states. Batch-invariant. Quantises kI8
// weights to symmetric 8-bit integers per group of kInt8Group input features. Rounds the inputs of
// products as `compute` says.
std::unique_ptr<Backend> MakeReferenceBackend(Compute compute = Compute::kF32);

}  // namespace spade::testing
