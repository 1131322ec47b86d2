// Per-target part of matmul_int8.cc: rows of x as 8-bit integers.
#if defined(SPADE_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPADE_QUANTIZE_INL_H_
#undef SPADE_QUANTIZE_INL_H_
#else
#define SPADE_QUANTIZE_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/quantize.h"

HWY_BEFORE_NAMESPACE();
namespace spade::HWY_NAMESPACE {
namespace {

using D32 = hn::RebindToSigned<DF>;

// As integers, magnitudes compare like floats, and infinity and NaN above all others.
float LargestMagnitude(const float* HWY_RESTRICT x) {
  const D32 d;
  auto largest = hn::Zero(d);
  for (int64_t i = 0; i < kInt8Group; i += kLanes) {
    const auto bits = hn::BitCast(d, hn::LoadU(DF(), x + i));
    largest = hn::Max(largest, hn::And(bits, hn::Set(d, 0x7fffffff)));
  }
  return hn::GetLane(hn::BitCast(DF(), hn::MaxOfLanes(d, largest)));
}

void QuantizeFull(const float* HWY_RESTRICT x, QuantizedGroup* HWY_RESTRICT group) {
  constexpr float kSmallest = 0x1p-100f;
  const float largest = LargestMagnitude(x);
  const bool is_zero = largest < kSmallest;
  const D32 d;
  const auto inverse = hn::Set(DF(), is_zero ? 0.0f : 127.0f / largest);
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < kInt8Group; i += kLanes) {
    const auto steps = hn::NearestInt(hn::Mul(hn::LoadU(DF(), x + i), inverse));
    sum = hn::Add(sum, steps);
    const hn::Rebind<int8_t, DF> bytes;
    hn::StoreU(hn::DemoteTo(bytes, steps), bytes, group->steps + i);
  }
  group->sum = hn::GetLane(hn::SumOfLanes(d, sum));
  group->scale = is_zero ? 0.0f : largest / 127.0f;
}

void Quantize(const float* x, int64_t inputs, QuantizedGroup* group) {
  if (inputs == kInt8Group) return QuantizeFull(x, group);
  float padded[kInt8Group] = {};
  std::copy_n(x, inputs, padded);
  QuantizeFull(padded, group);
}

}  // namespace
}  // namespace spade::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
