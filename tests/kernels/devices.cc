#include "tests/kernels/device_test.h"

namespace spade::testing {

std::vector<Device> AllDevices() {
  std::vector<Device> devices;
  for (const char* isa : {"avx3_bf16", "avx3_vnni", "avx3", "avx2", "sse4", "neon", "portable"}) {
    for (const Compute compute : {Compute::kF32, Compute::kBF16, Compute::kI8}) {
      devices.push_back({std::string(isa) + "_in_" + std::string(NameOf(compute)),
                         {.num_threads = 2, .compute = compute, .cpu_isa = isa}});
    }
  }
  // Operations of what is not split, on every shard alike.
  devices.push_back({"two_shards", {.tensor_parallel = 2, .num_threads = 2}});
  // Skipped where the build or the machine has no GPU.
  for (Device& device : CudaDevices()) devices.push_back(std::move(device));
  return devices;
}

}  // namespace spade::testing
