#include "tests/kernels/device_test.h"

namespace spade::testing {

// The types of products make no difference to draws.
std::vector<Device> AllDevices() {
  return {{"cpu", {.num_threads = 1}}, {"cuda", {.device = "cuda", .num_threads = 1}}};
}

}  // namespace spade::testing
