#pragma once

#include <cstdint>

namespace spade::cuda_emulation {

// Bytes copied to and from the device's memory since the start of the process.
int64_t BytesToHost();
int64_t BytesToDevice();

}  // namespace spade::cuda_emulation
