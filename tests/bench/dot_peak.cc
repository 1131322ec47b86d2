#include "tests/bench/dot_peak.h"

#include "hwy/base.h"

#if HWY_ARCH_X86_64

#include <immintrin.h>

HWY_PUSH_ATTRIBUTES("avx512f,avx512bf16")
namespace spade::bench {

double BF16Dots(int64_t rounds, float* sink) {
  __m512 sums[12];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const auto factor = (__m512bh)_mm512_castps_si512(_mm512_set1_ps(*sink));
  for (int64_t i = 0; i < rounds; ++i) {
    HWY_UNROLL(12)
    for (int v = 0; v < 12; ++v) sums[v] = _mm512_dpbf16_ps(sums[v], factor, factor);
  }
  for (int v = 1; v < 12; ++v) sums[0] = _mm512_add_ps(sums[0], sums[v]);
  *sink = _mm512_cvtss_f32(sums[0]);
  return 2.0 * 12 * 32 * static_cast<double>(rounds);
}

}  // namespace spade::bench
HWY_POP_ATTRIBUTES

HWY_PUSH_ATTRIBUTES("avx512f,avx512vnni")
namespace spade::bench {

double Int8Dots(int64_t rounds, float* sink) {
  __m512i sums[12];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i factor = _mm512_castps_si512(_mm512_set1_ps(*sink));
  for (int64_t i = 0; i < rounds; ++i) {
    HWY_UNROLL(12)
    for (int v = 0; v < 12; ++v) sums[v] = _mm512_dpbusd_epi32(sums[v], factor, factor);
  }
  for (int v = 1; v < 12; ++v) sums[0] = _mm512_add_epi32(sums[0], sums[v]);
  int32_t lanes[16];
  _mm512_storeu_si512(lanes, sums[0]);
  *sink = static_cast<float>(lanes[0]);
  return 2.0 * 12 * 64 * static_cast<double>(rounds);
}

}  // namespace spade::bench
HWY_POP_ATTRIBUTES

#else

namespace spade::bench {

double BF16Dots(int64_t, float*) { return 0; }
double Int8Dots(int64_t, float*) { return 0; }

}  // namespace spade::bench

#endif  // HWY_ARCH_X86_64
