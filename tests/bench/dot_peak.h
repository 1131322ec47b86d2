#pragma once

#include <cstdint>

namespace spade::bench {

// Returns the FLOP done, having done them: independent chains of AVX512-BF16's dot products, in
// registers. For processors that have them only.
double BF16Dots(int64_t rounds, float* sink);
// The same of AVX512-VNNI's, counting a multiply-add of integers as two.
double Int8Dots(int64_t rounds, float* sink);

}  // namespace spade::bench
