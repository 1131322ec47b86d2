#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace spade::bench {

// Seconds: of the calling thread's processor where there is one thread, which other processes
// hardly disturb; else of the wall clock.
double Now(int32_t threads);

// What the machine can do at most, for benchmarks to be compared with: the best of several runs.
double ReadBandwidth(int32_t threads);  // bytes/s of memory that no cache holds
// FLOP/s of independent multiply-adds in registers: of F32; of BF16 where the processor has them;
// of I8 where it has them, else of 16-bit pairs.
double MultiplyAddPeak(int32_t threads, Compute compute);

}  // namespace spade::bench
