// I8 products by AVX512-VNNI's dot products of four bytes, unsigned weights by signed inputs.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "hwy/base.h"
#include "kernels/cpu/matmul_kernels.h"

#if HWY_ARCH_X86_64

#include "kernels/cpu/matmul_words.h"
#include "kernels/cpu/quad_words.h"
#include "kernels/cpu/store_avx512-inl.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512vnni")
namespace spade {
namespace {

// Not __m512i, which GCC 12 converts to and from in the inner loop, through memory.
using Ints = int32_t __attribute__((vector_size(64)));
using Floats = float __attribute__((vector_size(64)));

HWY_INLINE Ints Dot(Ints sum, __m512i weights, __m512i inputs) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)sum, weights, inputs);
}

struct VnniDot : QuadWords</*kPerQuad=*/1> {
  static void Pack(const float* x, int64_t inputs, uint32_t* words) {
    PackGroups(x, inputs, GetQuantizeGroup(Isa::kAvx3Vnni), words,
               [](const QuantizedGroup& group, uint32_t* to) {
                 std::memcpy(to, group.steps, sizeof(group.steps));
               });
  }

  template <int kRows, int kPanels>
  static void Add(const WordBlock& block, float* sums) {
    const uint32_t* x = block.x;
    for (int64_t first = 0; first < block.words; first += kGroupWords) {
      const int64_t words = std::min(kGroupWords, block.words - first);
      AddGroup<kRows, kPanels>(block, x, first, words, sums);
      x += XWords(words) * kRows;
    }
  }

  // The group of `words` words from `first` on; x: its (XWords(words), kRows).
  template <int kRows, int kPanels>
  static HWY_NOINLINE void AddGroup(const WordBlock& block, const uint32_t* HWY_RESTRICT x,
                                    int64_t first, int64_t words, float* HWY_RESTRICT sums) {
    const uint32_t* x_scales = x + words * kRows;
    const uint32_t* x_biases = x_scales + kRows;
    Ints chains[kRows][kPanels];
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const auto bias = (Ints)_mm512_set1_epi32(static_cast<int32_t>(x_biases[r]));
      HWY_UNROLL(16)
      for (int p = 0; p < kPanels; ++p) chains[r][p] = bias;
    }
    for (int64_t i = 0; i < words; ++i) {
      __m512i weights[kPanels];
      HWY_UNROLL(16)
      for (int p = 0; p < kPanels; ++p) {
        const int64_t place = p * block.panel_words + (first + i) * kPanelCols;
        // One row streams fastest by itself.
        if constexpr (kRows > 1) {
          __builtin_prefetch(block.next[p] + (first + i) * kPanelCols, /*rw=*/0, /*locality=*/2);
        }
        weights[p] = _mm512_loadu_si512(block.weights + place);
      }
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) {
        const __m512i quad = _mm512_set1_epi32(static_cast<int32_t>(x[i * kRows + r]));
        HWY_UNROLL(16)
        for (int p = 0; p < kPanels; ++p) {
          chains[r][p] = Dot(chains[r][p], weights[p], quad);
        }
      }
    }
    HWY_UNROLL(16)
    for (int p = 0; p < kPanels; ++p) {
      const float* scales =
          block.scales + p * block.panel_scales + first / kGroupWords * kPanelCols;
      const __m512 scale = _mm512_loadu_ps(scales);
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) {
        float* sum = sums + (r * kPanels + p) * kPanelCols;
        const __m512 scaled =
            _mm512_mul_ps(scale, _mm512_set1_ps(std::bit_cast<float>(x_scales[r])));
        const auto product = (__m512) __builtin_convertvector(chains[r][p], Floats);
        _mm512_storeu_ps(sum, _mm512_fmadd_ps(product, scaled, _mm512_loadu_ps(sum)));
      }
    }
  }

  static void Store(const MatMulArgs& args, int64_t row, int64_t panel, const float* sums) {
    StoreOutputs(args, row, panel, sums);
  }
};

constexpr MatMulKernels kKernels = {nullptr,
                                    &PackWords<VnniDot>,
                                    &WordTiles<VnniDot>,
                                    kTileRows,
                                    /*max_direct_rows=*/0,
                                    kTilePanels};

}  // namespace

const MatMulKernels* GetVnniMatMulKernels(Isa isa) {
  return isa == Isa::kAvx3Vnni || isa == Isa::kAvx3BF16 ? &kKernels : nullptr;
}

}  // namespace spade
HWY_POP_ATTRIBUTES

#else

namespace spade {

const MatMulKernels* GetVnniMatMulKernels(Isa) { return nullptr; }

}  // namespace spade

#endif  // HWY_ARCH_X86_64
