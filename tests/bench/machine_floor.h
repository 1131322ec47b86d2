#pragma once

#include <cstdint>

namespace spade::bench {

// Seconds: of the calling thread's processor where there is one thread, which other processes
// hardly disturb; else of the wall clock.
double Now(int32_t threads);

// What the machine can do at most, for benchmarks to be compared with: the best of several runs.
double ReadBandwidth(int32_t threads);    // bytes/s of memory that no cache holds
double MultiplyAddPeak(int32_t threads);  // F32 FLOP/s of independent multiply-adds in registers

}  // namespace spade::bench
