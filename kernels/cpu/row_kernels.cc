#include "kernels/cpu/row_kernels.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_kernels.cc"
#include "kernels/cpu/simd.h"
//
#include "hwy/foreach_target.h"  // must come before highway.h
//
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spade::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using VF = hn::Vec<DF>;
inline constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(DF()));

// Half a head is a multiple of 4 wide.
using DHalf = hn::CappedTag<float, 4>;
inline constexpr int64_t kHalfLanes = static_cast<int64_t>(hn::MaxLanes(DHalf()));

// In one fixed order, so that a row's bits depend on the row alone.
float Dot(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t n) {
  const DF d;
  VF even = hn::Zero(d);
  VF odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    even = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), even);
    odd = hn::MulAdd(hn::LoadU(d, a + i + kLanes), hn::LoadU(d, b + i + kLanes), odd);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void RmsNorm(const float* x, const float* weight, float epsilon, int64_t cols, float* out) {
  const float mean_square = Dot(x, x, cols) / static_cast<float>(cols);
  const float scale = 1.0f / std::sqrt(mean_square + epsilon);
  const DF d;
  int64_t i = 0;
  for (; i + kLanes <= cols; i += kLanes) {
    const VF scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale));
    hn::StoreU(hn::Mul(scaled, hn::LoadU(d, weight + i)), d, out + i);
  }
  for (; i < cols; ++i) out[i] = x[i] * scale * weight[i];
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SiluTimes(D d, V gate, V up) {
  // Exp overflows to nonsense, not to infinity; beyond 88 the result is zero for all purposes.
  const V power = hn::Exp(d, hn::Min(hn::Neg(gate), hn::Set(d, 88.0f)));
  return hn::Mul(hn::Div(gate, hn::Add(hn::Set(d, 1.0f), power)), up);
}

template <class D>
HWY_INLINE void SiluMulAt(D d, const float* gate, const float* up, float* out) {
  hn::StoreU(SiluTimes(d, hn::LoadU(d, gate), hn::LoadU(d, up)), d, out);
}

void SiluMul(const float* gate_up, int64_t cols, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= cols; i += kLanes) SiluMulAt(DF(), gate_up + i, gate_up + cols + i, out + i);
  for (; i < cols; ++i) {
    SiluMulAt(hn::CappedTag<float, 1>(), gate_up + i, gate_up + cols + i, out + i);
  }
}

void GateTile(const GatedTile& tile) {
  const DF d;
  for (int64_t row = 0; row < tile.rows; ++row) {
    const float* gates = tile.sums + 2 * row * kPanelCols;
    float* out = tile.out + row * tile.out_cols;
    for (int64_t lane = 0; lane < kPanelCols; lane += kLanes) {
      VF gate = hn::LoadU(d, gates + lane);
      VF up = hn::LoadU(d, gates + kPanelCols + lane);
      if (tile.bias != nullptr) {
        gate = hn::Add(gate, hn::LoadU(d, tile.bias + lane));
        up = hn::Add(up, hn::LoadU(d, tile.bias + tile.out_cols + lane));
      }
      hn::StoreU(SiluTimes(d, gate, up), d, out + lane);
    }
  }
}

void Rope(float* head, int64_t head_dim, const float* weight, float epsilon, const float* angles) {
  if (weight != nullptr) RmsNorm(head, weight, epsilon, head_dim, head);
  const DHalf d;
  const int64_t half = head_dim / 2;
  for (int64_t i = 0; i < half; i += kHalfLanes) {
    const auto cosine = hn::LoadU(d, angles + i);
    const auto sine = hn::LoadU(d, angles + half + i);
    const auto first = hn::LoadU(d, head + i);
    const auto second = hn::LoadU(d, head + half + i);
    hn::StoreU(hn::NegMulAdd(second, sine, hn::Mul(first, cosine)), d, head + i);
    hn::StoreU(hn::MulAdd(first, sine, hn::Mul(second, cosine)), d, head + half + i);
  }
}

// out = a * x + b * y
void Blend(float a, const float* x, float b, const float* y, int64_t n, float* out) {
  const DHalf d;
  for (int64_t i = 0; i < n; i += kHalfLanes) {
    const auto scaled = hn::Mul(hn::Set(d, a), hn::LoadU(d, x + i));
    hn::StoreU(hn::MulAdd(hn::Set(d, b), hn::LoadU(d, y + i), scaled), d, out + i);
  }
}

void StartSelf(const float* qkv, const HeadLayout& heads, const StartView& start, float* out) {
  const int64_t dim = heads.head_dim;
  const int32_t group = heads.q_heads / heads.kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const float* keys = qkv + heads.q_cols();
  const float* values = keys + heads.kv_cols();
  for (int32_t head = 0; head < heads.q_heads; ++head) {
    const float* query = qkv + head * dim;
    const int64_t kv = head / group * dim;
    const float to_start = Dot(query, start.keys + kv, dim) * scale;
    const float to_self = Dot(query, keys + kv, dim) * scale;
    const float p_start = 1.0f / (1.0f + std::exp(to_self - to_start));
    const float p_self = 1.0f / (1.0f + std::exp(to_start - to_self));
    Blend(p_start, start.values + kv, p_self, values + kv, dim, out + head * dim);
  }
}

const RowKernels* Kernels() {
  static constexpr RowKernels kKernels = {&RmsNorm, &SiluMul, &GateTile, &Rope, &StartSelf};
  return &kKernels;
}

}  // namespace
}  // namespace spade::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spade {

const RowKernels& GetRowKernels(Isa isa) { return *SPADE_FUNCTION_FOR(isa, Kernels)(); }

}  // namespace spade
#endif  // HWY_ONCE
