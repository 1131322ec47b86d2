// Part of the files of products by AVX-512: how 16 outputs of a row are stored.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "hwy/base.h"
#include "kernels/cpu/matmul_kernels.h"

HWY_PUSH_ATTRIBUTES("avx512f")
namespace spade {
namespace {

// Finishes and stores 16 outputs of a row; beyond the last output feature they are dropped.
inline void StoreOutputs(const MatMulArgs& args, int64_t row, int64_t panel, const float* sums) {
  const int64_t first = panel * kPanelCols;
  const int64_t cols = std::min(kPanelCols, args.out_cols - first);
  const auto mask = static_cast<__mmask16>((1u << cols) - 1);
  float* out = args.out + row * args.out_cols + first;
  __m512 value = _mm512_loadu_ps(sums);
  if (args.bias != nullptr) {
    value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, args.bias + first));
  }
  if (args.accumulate) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, out));
  _mm512_mask_storeu_ps(out, mask, value);
}

}  // namespace
}  // namespace spade
HWY_POP_ATTRIBUTES
