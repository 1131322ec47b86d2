#include "tests/kernels/device_test.h"

namespace spade::testing {

std::vector<Device> CudaDevices() {
  std::vector<Device> devices;
  for (const bool invariant : {false, true}) {
    for (const Compute compute : {Compute::kF32, Compute::kF16, Compute::kBF16}) {
      devices.push_back(
          {std::string(invariant ? "cuda_invariant_in_" : "cuda_in_") +
               std::string(NameOf(compute)),
           {.device = "cuda", .num_threads = 2, .compute = compute, .batch_invariant = invariant}});
    }
  }
  // Too small for any operation to go over all at once.
  devices.push_back({"cuda_small_scratch",
                     {.device = "cuda",
                      .num_threads = 2,
                      .compute = Compute::kBF16,
                      .cuda_scratch_bytes = 128 << 10}});
  devices.push_back({"cuda_two_shards",
                     {.device = "cuda",
                      .tensor_parallel = 2,
                      .num_threads = 2,
                      .compute = Compute::kBF16,
                      .batch_invariant = true}});
  return devices;
}

}  // namespace spade::testing
