#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spade::loadtest {

// Send times in seconds from the start, ascending, of `count` requests at `rate` per second on
// average (> 0). The gaps are gamma distributed with shape `burstiness` (> 0): 1 is a Poisson
// process, below 1 is burstier, above 1 more even, infinity is a constant gap. As in `vllm bench`,
// the times are stretched so that the last request leaves at exactly count / rate.
std::vector<double> MakeArrivals(size_t count, double rate, double burstiness, uint64_t seed);

}  // namespace spade::loadtest
