// Per-target part of matmul.cc: few rows. Limited by memory bandwidth, so weights are expanded in
// registers and used once.
#if defined(SPADE_MATMUL_DIRECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPADE_MATMUL_DIRECT_INL_H_
#undef SPADE_MATMUL_DIRECT_INL_H_
#else
#define SPADE_MATMUL_DIRECT_INL_H_
#endif

#include <algorithm>

#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/matmul_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace spade::HWY_NAMESPACE {
namespace {

inline constexpr int64_t kMaxDirectRows = 12;

// Rows that meet a weight in registers; with more, a panel is read again from the L2 cache.
inline constexpr int64_t kMaxDirectTile = 6;

// One row streams fast enough by itself. With more, the arithmetic between two loads keeps the
// hardware's prefetcher from running ahead, so memory this far ahead is asked for.
inline constexpr int kMinPrefetchRows = 3;
inline constexpr int64_t kPrefetchPairs = 64;

// One block of input features of a panel.
template <class R>
struct DirectBlock {
  const float* HWY_RESTRICT x;  // first row, at the block's first input
  int64_t x_stride;
  const typename R::Element* HWY_RESTRICT weights;  // at the block's first pair
  const float* HWY_RESTRICT scales;                 // kI8: of the matrix
  int64_t first_scale;                              // of the panel's group where the block begins
  int64_t inputs;                                   // at most kBlockInputs
};

template <class R, int kVecs>
HWY_INLINE void LoadScales(const DirectBlock<R>& block, int64_t pair, int lane,
                           VF (&scales)[kVecs]) {
  const int64_t first = block.first_scale + pair / R::kGroupPairs * kPanelCols + lane;
  HWY_UNROLL(16)
  for (int v = 0; v < kVecs; ++v) scales[v] = R::LoadScale(block.scales, first + v * kLanes);
}

// The two chains of each output; see kBlockInputs.
template <int kRows, int kVecs>
struct Chains {
  VF even[kRows][kVecs];
  VF odd[kRows][kVecs];
};

// Adds pair `p`, or of an odd last one (kBoth = false) only the even input.
template <bool kBoth, class R, int kRows, int kVecs>
HWY_INLINE void AddPair(const DirectBlock<R>& block, int64_t p, int lane, const VF (&scales)[kVecs],
                        Chains<kRows, kVecs>& chains) {
  const DF d;
  const auto* pair = block.weights + p * R::kPairUnits;
  if (kRows >= kMinPrefetchRows) hwy::Prefetch(pair + kPrefetchPairs * R::kPairUnits);
  HWY_UNROLL(16)
  for (int v = 0; v < kVecs; ++v) {
    const VF even = R::Scale(R::Even(pair, lane + v * kLanes), scales[v]);
    const VF odd = R::Scale(R::Odd(pair, lane + v * kLanes), scales[v]);
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      const float* x = block.x + r * block.x_stride + 2 * p;
      chains.even[r][v] = hn::MulAdd(even, hn::Set(d, x[0]), chains.even[r][v]);
      if (kBoth) chains.odd[r][v] = hn::MulAdd(odd, hn::Set(d, x[1]), chains.odd[r][v]);
    }
  }
}

// Adds the block to totals (kRows, 16), for the kVecs vectors from `lane` on. The chains must fit
// in the registers; four are enough to hide the latency of a multiply-add behind memory.
template <class R, int kRows, int kVecs>
HWY_INLINE void AddBlock(const DirectBlock<R>& block, int lane, float* HWY_RESTRICT totals) {
  const DF d;
  Chains<kRows, kVecs> chains;
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVecs; ++v) chains.even[r][v] = chains.odd[r][v] = hn::Zero(d);
  }
  const int64_t pairs = block.inputs / 2;
  VF scales[kVecs];
  for (int64_t begin = 0; begin < pairs; begin += R::kGroupPairs) {
    LoadScales(block, begin, lane, scales);
    const int64_t end = HWY_MIN(begin + R::kGroupPairs, pairs);
    for (int64_t p = begin; p < end; ++p) AddPair<true>(block, p, lane, scales, chains);
  }
  if (block.inputs % 2 != 0) {
    LoadScales(block, pairs, lane, scales);
    AddPair<false>(block, pairs, lane, scales, chains);
  }
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(16)
    for (int v = 0; v < kVecs; ++v) {
      float* total = totals + r * kPanelCols + lane + v * kLanes;
      const VF sum = hn::Add(hn::LoadU(d, total), chains.even[r][v]);
      hn::StoreU(hn::Add(sum, chains.odd[r][v]), d, total);
    }
  }
}

// The outputs of a panel for kRows rows.
template <DType kType, int kRows, int kVecs>
void DirectPanel(const MatMulArgs& args, int64_t panel, int64_t first_row) {
  using R = Reader<kType>;
  const PackedMatrix& weight = args.weight;
  HWY_ALIGN float totals[kRows * kPanelCols] = {};
  DirectBlock<R> block;
  block.x_stride = weight.in_features;
  block.scales = weight.scales;
  const auto* weights = static_cast<const typename R::Element*>(weight.weights) +
                        panel * weight.pairs() * R::kPairUnits;
  for (int64_t in = 0; in < weight.in_features; in += kBlockInputs) {
    block.x = args.x + first_row * weight.in_features + in;
    block.weights = weights + in / 2 * R::kPairUnits;
    block.first_scale = (panel * weight.groups() + in / kInt8Group) * kPanelCols;
    block.inputs = std::min(kBlockInputs, weight.in_features - in);
    for (int lane = 0; lane < kPanelCols; lane += kVecs * kLanes) {
      AddBlock<R, kRows, kVecs>(block, lane, totals);
    }
  }
  for (int r = 0; r < kRows; ++r) WriteOut(args, first_row + r, panel, totals + r * kPanelCols);
}

template <DType kType>
void DirectTile(const MatMulArgs& args, int64_t panel, Range rows) {
  constexpr int kPanelVecs = kPanelCols / kLanes;
  switch (rows.end - rows.begin) {
    case 1:
      return DirectPanel<kType, 1, HWY_MIN(4, kPanelVecs)>(args, panel, rows.begin);
    case 2:
      return DirectPanel<kType, 2, HWY_MIN(2, kPanelVecs)>(args, panel, rows.begin);
    case 3:
      return DirectPanel<kType, 3, HWY_MIN(2, kPanelVecs)>(args, panel, rows.begin);
    case 4:
      return DirectPanel<kType, 4, 1>(args, panel, rows.begin);
    case 5:
      return DirectPanel<kType, 5, 1>(args, panel, rows.begin);
    default:
      return DirectPanel<kType, 6, 1>(args, panel, rows.begin);
  }
}

struct DirectRange {
  template <DType kType>
  void Run() const {
    const RowTiling tiling(args.rows, kMaxDirectTile);
    for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
      for (int64_t tile = 0; tile < tiling.count; ++tile) {
        DirectTile<kType>(args, panel, tiling.RowsOf(tile));
      }
    }
  }

  const MatMulArgs& args;
  Range panels;
};

void Direct(const MatMulArgs& args, Range panels) {
  DispatchType(args.weight.dtype, DirectRange{args, panels});
}

}  // namespace
}  // namespace spade::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
