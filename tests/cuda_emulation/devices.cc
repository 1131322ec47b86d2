#include "tests/kernels/device_test.h"

namespace spade::testing {

// The CPU's have a test binary of their own.
std::vector<Device> AllDevices() { return CudaDevices(); }

}  // namespace spade::testing
