// BF16 products by AVX512-BF16's dot products of pairs, summed in F32.
#include <algorithm>
#include <cstdint>

#include "hwy/base.h"
#include "kernels/cpu/matmul_kernels.h"

#if HWY_ARCH_X86_64

#include "kernels/cpu/matmul_words.h"
#include "kernels/cpu/store_avx512-inl.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bf16")
namespace spade {
namespace {

// A word is a pair of inputs, as packed_matrix.h stores BF16 weights. Each output is one chain of
// dot products for a block, and the sum of its blocks in order.
struct PairDot {
  static constexpr int64_t kWordInputs = 2;
  static constexpr int64_t kBlockWords = kBlockInputs / kWordInputs;
  static constexpr int64_t XWords(int64_t words) { return words; }

  // Rounds to nearest even.
  static void Pack(const float* x, int64_t inputs, uint32_t* words) {
    for (int64_t i = 0; i < inputs; i += 16) {
      const int64_t count = std::min<int64_t>(16, inputs - i);
      const auto mask = static_cast<__mmask16>((1u << count) - 1);
      const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + i / 2), (__m256i)rounded);
    }
  }

  template <int kRows, int kPanels>
  static void Add(const WordBlock& block, float* sums) {
    __m512 chains[kRows][kPanels];
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int p = 0; p < kPanels; ++p) chains[r][p] = _mm512_setzero_ps();
    }
    for (int64_t i = 0; i < block.words; ++i) {
      __m512bh weights[kPanels];
      HWY_UNROLL(16)
      for (int p = 0; p < kPanels; ++p) {
        const int64_t place = p * block.panel_words + i * kPanelCols;
        __builtin_prefetch(block.next[p] + i * kPanelCols, /*rw=*/0, /*locality=*/2);
        weights[p] = (__m512bh)_mm512_loadu_si512(block.weights + place);
      }
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) {
        const auto x = static_cast<int32_t>(block.x[i * kRows + r]);
        const auto pair = (__m512bh)_mm512_set1_epi32(x);
        HWY_UNROLL(16)
        for (int p = 0; p < kPanels; ++p) {
          chains[r][p] = _mm512_dpbf16_ps(chains[r][p], weights[p], pair);
        }
      }
    }
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int p = 0; p < kPanels; ++p) {
        float* sum = sums + (r * kPanels + p) * kPanelCols;
        _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), chains[r][p]));
      }
    }
  }

  static void Store(const MatMulArgs& args, int64_t row, int64_t panel, const float* sums) {
    StoreOutputs(args, row, panel, sums);
  }
};

constexpr MatMulKernels kKernels = {nullptr,
                                    &PackWords<PairDot>,
                                    &WordTiles<PairDot>,
                                    kTileRows,
                                    /*max_direct_rows=*/0,
                                    kTilePanels};

}  // namespace

const MatMulKernels* GetBF16MatMulKernels(Isa isa) {
  return isa == Isa::kAvx3BF16 ? &kKernels : nullptr;
}

}  // namespace spade
HWY_POP_ATTRIBUTES

#else

namespace spade {

const MatMulKernels* GetBF16MatMulKernels(Isa) { return nullptr; }

}  // namespace spade

#endif  // HWY_ARCH_X86_64
