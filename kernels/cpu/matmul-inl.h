// Per-target part of matmul.cc: how each stored type becomes float vectors.
#if defined(SPADE_MATMUL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPADE_MATMUL_INL_H_
#undef SPADE_MATMUL_INL_H_
#else
#define SPADE_MATMUL_INL_H_
#endif

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/packed_matrix.h"

HWY_BEFORE_NAMESPACE();
namespace spade::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kPanelCols>;
using VF = hn::Vec<DF>;
inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));

// Each reader has: Element (the stored unit), kPairUnits of them a pair, kGroupPairs pairs with one
// scale, and Even / Odd: kLanes weights of a pair, from `lane` on.

template <DType kType>
struct Reader;

template <>
struct Reader<DType::kF32> {
  using Element = float;
  static constexpr int64_t kPairUnits = kPairElements;
  static constexpr int64_t kGroupPairs = kBlockInputs / 2;
  static HWY_INLINE VF Even(const float* pair, int lane) { return hn::LoadU(DF(), pair + lane); }
  static HWY_INLINE VF Odd(const float* pair, int lane) {
    return hn::LoadU(DF(), pair + kPanelCols + lane);
  }
  static HWY_INLINE VF LoadScale(const float*, int64_t) { return hn::Zero(DF()); }
  static HWY_INLINE VF Scale(VF weight, VF) { return weight; }
};

template <>
struct Reader<DType::kF16> : Reader<DType::kF32> {
  using Element = hwy::float16_t;
  static HWY_INLINE VF Load(const Element* from) {
    return hn::PromoteTo(DF(), hn::LoadU(hn::Rebind<Element, DF>(), from));
  }
  static HWY_INLINE VF Even(const Element* pair, int lane) { return Load(pair + lane); }
  static HWY_INLINE VF Odd(const Element* pair, int lane) { return Load(pair + kPanelCols + lane); }
};

template <>
struct Reader<DType::kBF16> : Reader<DType::kF32> {
  using Element = uint32_t;
  using DU = hn::Rebind<uint32_t, DF>;
  static constexpr int64_t kPairUnits = kPanelCols;
  static HWY_INLINE VF Even(const Element* pair, int lane) {
    return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::LoadU(DU(), pair + lane)));
  }
  static HWY_INLINE VF Odd(const Element* pair, int lane) {
    return hn::BitCast(DF(), hn::And(hn::LoadU(DU(), pair + lane), hn::Set(DU(), 0xffff0000u)));
  }
};

template <>
struct Reader<DType::kI8> {
  using Element = int8_t;
  static constexpr int64_t kPairUnits = kPairElements;
  static constexpr int64_t kGroupPairs = kInt8Group / 2;
  static HWY_INLINE VF Load(const Element* from) {
    const auto bytes = hn::LoadU(hn::Rebind<int8_t, DF>(), from);
    return hn::ConvertTo(DF(), hn::PromoteTo(hn::Rebind<int32_t, DF>(), bytes));
  }
  static HWY_INLINE VF Even(const Element* pair, int lane) { return Load(pair + lane); }
  static HWY_INLINE VF Odd(const Element* pair, int lane) { return Load(pair + kPanelCols + lane); }
  static HWY_INLINE VF LoadScale(const float* scales, int64_t i) {
    return hn::LoadU(DF(), scales + i);
  }
  static HWY_INLINE VF Scale(VF weight, VF scale) { return hn::Mul(weight, scale); }
};

// Finishes and stores 16 outputs of a row; beyond the last output feature they are dropped.
HWY_INLINE void WriteOut(const MatMulArgs& args, int64_t row, int64_t panel, const float* totals) {
  const int64_t first = panel * kPanelCols;
  const int64_t cols = HWY_MIN(kPanelCols, args.out_cols - first);
  float* out = args.out + row * args.out_cols + first;
  for (int64_t c = 0; c < cols; ++c) {
    float value = totals[c];
    if (args.bias != nullptr) value += args.bias[first + c];
    if (args.accumulate) value += out[c];
    out[c] = value;
  }
}

// Calls function.Run<kType>() for the stored type.
template <class Function>
void DispatchType(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kF32:
      return function.template Run<DType::kF32>();
    case DType::kF16:
      return function.template Run<DType::kF16>();
    case DType::kBF16:
      return function.template Run<DType::kBF16>();
    case DType::kI8:
      return function.template Run<DType::kI8>();
    case DType::kI32:
      break;
  }
  SPADE_CHECK(false);
}

}  // namespace spade::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
