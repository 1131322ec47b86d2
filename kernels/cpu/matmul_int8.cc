// I8 products where there are no dot products of bytes: widened to 16 bits, multiplied in pairs.
#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/matmul_words.h"
#include "kernels/cpu/quad_words.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul_int8.cc"
#include "kernels/cpu/simd.h"
//
#include "hwy/foreach_target.h"  // must come before highway.h
//
#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/quantize-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spade::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

// Its only lane cannot hold a pair of 16 bits.
using Quads = uint32_t;

HWY_INLINE Quads LoadQuads(const uint32_t* from) { return *from; }

struct QuadSum {
  int32_t sum;
};

HWY_INLINE QuadSum ZeroSum() { return {0}; }

HWY_INLINE int32_t Product(uint32_t weight, uint32_t x) {
  return static_cast<int32_t>(weight & 0xff) * static_cast<int16_t>(x);
}

HWY_INLINE void AddQuads(Quads quad, uint32_t x_even, uint32_t x_odd, QuadSum& to) {
  to.sum += Product(quad, x_even) + Product(quad >> 16, x_even >> 16);
  to.sum += Product(quad >> 8, x_odd) + Product(quad >> 24, x_odd >> 16);
}

HWY_INLINE hn::Vec<D32> TotalOf(const QuadSum& sum) { return hn::Set(D32(), sum.sum); }

#else

using DU32 = hn::RebindToUnsigned<DF>;
using D16 = hn::RepartitionToNarrow<D32>;
using DU16 = hn::RebindToUnsigned<D16>;

// The even and the odd weights of some quads in 16 bits.
struct Quads {
  hn::Vec<D16> even;
  hn::Vec<D16> odd;
};

HWY_INLINE Quads LoadQuads(const uint32_t* from) {
  const auto words = hn::BitCast(DU16(), hn::LoadU(DU32(), from));
  return {hn::BitCast(D16(), hn::And(words, hn::Set(DU16(), 0xff))),
          hn::BitCast(D16(), hn::ShiftRight<8>(words))};
}

// Some instruction sets add to both.
struct QuadSum {
  hn::Vec<D32> low;
  hn::Vec<D32> high;
};

HWY_INLINE QuadSum ZeroSum() { return {hn::Zero(D32()), hn::Zero(D32())}; }

HWY_INLINE void AddPairs(hn::Vec<D16> pairs, uint32_t x, QuadSum& to) {
  const auto inputs = hn::BitCast(D16(), hn::Set(DU32(), x));
  to.low = hn::ReorderWidenMulAccumulate(D32(), pairs, inputs, to.low, to.high);
}

HWY_INLINE void AddQuads(const Quads& quads, uint32_t x_even, uint32_t x_odd, QuadSum& to) {
  AddPairs(quads.even, x_even, to);
  AddPairs(quads.odd, x_odd, to);
}

HWY_INLINE hn::Vec<D32> TotalOf(const QuadSum& sum) {
  return hn::RearrangeToOddPlusEven(sum.low, sum.high);
}

#endif  // HWY_TARGET

// One vector of a panel's outputs, for one group of some rows.
struct GroupOfVector {
  const uint32_t* HWY_RESTRICT weights;  // (words, 16)
  const uint32_t* HWY_RESTRICT x;        // (XWords(words), rows)
  const float* HWY_RESTRICT scales;
  int64_t words;
};

// A quad of inputs is two words of a packed row: its even steps in 16 bits, then its odd ones.
struct WidenedDot : QuadWords</*kPerQuad=*/2> {
  static uint32_t Pair(int8_t first, int8_t second) {
    return static_cast<uint16_t>(first) | static_cast<uint32_t>(static_cast<uint16_t>(second))
                                              << 16;
  }

  static void Pack(const float* x, int64_t inputs, uint32_t* words) {
    PackGroups(x, inputs, &Quantize, words, [](const QuantizedGroup& group, uint32_t* to) {
      for (int64_t i = 0; i < kInt8Group; i += kWordInputs) {
        *to++ = Pair(group.steps[i], group.steps[i + 2]);
        *to++ = Pair(group.steps[i + 1], group.steps[i + 3]);
      }
    });
  }

  template <int kRows, int kPanels>
  static void Add(const WordBlock& block, float* sums) {
    const uint32_t* x = block.x;
    for (int64_t first = 0; first < block.words; first += kGroupWords) {
      const int64_t words = std::min(kGroupWords, block.words - first);
      for (int p = 0; p < kPanels; ++p) {
        for (int lane = 0; lane < kPanelCols; lane += kLanes) {
          const int64_t place = p * block.panel_words + first * kPanelCols + lane;
          const int64_t scale = p * block.panel_scales + first / kGroupWords * kPanelCols + lane;
          AddVector<kRows>({block.weights + place, x, block.scales + scale, words},
                           kPanels * kPanelCols, sums + p * kPanelCols + lane);
        }
      }
      x += XWords(words) * kRows;
    }
  }

  // sums: (kRows) vectors, `stride` apart.
  template <int kRows>
  static HWY_INLINE void AddVector(const GroupOfVector& group, int64_t stride,
                                   float* HWY_RESTRICT sums) {
    const D32 d;
    const uint32_t* x_scales = group.x + 2 * group.words * kRows;
    const uint32_t* x_biases = x_scales + kRows;
    QuadSum products[kRows];
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) products[r] = ZeroSum();
    for (int64_t i = 0; i < group.words; ++i) {
      const Quads quads = LoadQuads(group.weights + i * kPanelCols);
      const uint32_t* x = group.x + 2 * i * kRows;
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) AddQuads(quads, x[r], x[kRows + r], products[r]);
    }
    const VF scale = hn::LoadU(DF(), group.scales);
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const auto bias = hn::Set(d, static_cast<int32_t>(x_biases[r]));
      const auto product = hn::Add(TotalOf(products[r]), bias);
      const VF scaled = hn::Mul(scale, hn::Set(DF(), std::bit_cast<float>(x_scales[r])));
      float* sum = sums + r * stride;
      hn::StoreU(hn::MulAdd(hn::ConvertTo(DF(), product), scaled, hn::LoadU(DF(), sum)), DF(), sum);
    }
  }

  static void Store(const MatMulArgs& args, int64_t row, int64_t panel, const float* sums) {
    WriteOut(args, row, panel, sums);
  }
};

const MatMulKernels* Int8Kernels() {
  static constexpr MatMulKernels kKernels = {nullptr,
                                             &PackWords<WidenedDot>,
                                             &WordTiles<WidenedDot>,
                                             kTileRows,
                                             /*max_direct_rows=*/0,
                                             kTilePanels};
  return &kKernels;
}

}  // namespace
}  // namespace spade::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spade {

const MatMulKernels& GetInt8MatMulKernels(Isa isa) {
  const MatMulKernels* vnni = GetVnniMatMulKernels(isa);
  return vnni != nullptr ? *vnni : *SPADE_FUNCTION_FOR(isa, Int8Kernels)();
}

QuantizeGroup GetQuantizeGroup(Isa isa) { return SPADE_FUNCTION_FOR(isa, Quantize); }

}  // namespace spade
#endif  // HWY_ONCE
