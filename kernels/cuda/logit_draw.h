#pragma once

#include "kernels/cuda/logit_cut.h"

// Device code only: the draw of one token, as kernels/logit_reader.h says.

namespace spade::cuda {

// The fewest units of `total` that hold its share top_p.
__device__ inline Fixed ShareOf(Fixed top_p, Fixed total) {
  const Fixed whole = __umul64hi(top_p, total);
  const Fixed share = whole + (top_p * total != 0 ? 1 : 0);
  return share > 0 ? share : 1;
}

// The listed token, by id, at which the summed weights exceed the share `uniform` of all; this
// thread's weighs `weight`.
__device__ inline int32_t PickListed(int count, Code code, Fixed weight, Fixed uniform,
                                     RowShared& shared) {
  const Fixed target = __umul64hi(uniform, RowSum(weight, shared.partial));
  shared.weights[threadIdx.x] = weight;
  __syncthreads();
  Fixed before = 0;
  for (int i = 0; i < count; ++i) {
    before += IdOf(shared.codes[i]) < IdOf(code) ? shared.weights[i] : 0;
  }
  if (weight > 0 && before <= target && target - before < weight) shared.id = IdOf(code);
  __syncthreads();
  return shared.id;
}

// Draws from the list. total: what top_p is a share of; 0: what top_k leaves of the list.
__device__ inline int32_t DrawListed(const LogitAsk& ask, const Weigher& weigh, int count,
                                     Fixed total, RowShared& shared) {
  const Code code = ListedCode(shared, count);
  const float weight = code != 0 ? weigh(LogitOf(code)) : 0.0f;
  Fixed fixed = ToFixed(weight);
  if (ask.top_k > 0 && RankInList(shared, count, code) >= ask.top_k) fixed = 0;
  if (ask.top_p != 0) {
    if (total == 0) total = RowSum(fixed, shared.partial);
    const Fixed above = WeightAbove(shared, count, code, fixed);
    if (above >= ShareOf(ask.top_p, total)) fixed = 0;
  }
  if (weight < ask.min_p) fixed = 0;
  return PickListed(count, code, fixed, ask.uniform, shared);
}

// The row's token, by id, at which the summed measure exceeds the share `uniform` of all. Each warp
// sums a part of the row, then of the part that holds the token, until a thread has one token.
template <class Measure>
__device__ int32_t PickInRow(const LogitRow& row, Fixed uniform, RowShared& shared,
                             const Measure& measure) {
  int32_t begin = 0;
  int32_t end = row.size;
  Fixed target = 0;
  bool is_first = true;
  do {
    const int32_t wanted = (end - begin + kRowWarps - 1) / kRowWarps;
    const int32_t part = (wanted + 4 * kWarp - 1) / (4 * kWarp) * (4 * kWarp);
    const int32_t first = begin + WarpIndex() * part;
    const int32_t last = first + part < end ? first + part : end;
    Fixed own = 0;
    ForTokens<4>(row, first, last, Lane(), kWarp, [&](int32_t id, float x) {
      if (IsDrawable(x)) own += measure(Drawable(x), CodeOf(Drawable(x), id));
    });
    const Fixed total = RowSum(own, shared.partial);
    if (is_first) target = __umul64hi(uniform, total);
    is_first = false;
    int warp = 0;
    while (warp < kRowWarps - 1 && target >= shared.partial[warp]) {
      target -= shared.partial[warp++];
    }
    begin += warp * part;
    end = begin + part < end ? begin + part : end;
  } while (end - begin > kRowThreads);
  const int32_t id = begin + static_cast<int32_t>(threadIdx.x);
  const float x = id < end ? row.data[id] : -INFINITY;
  const Fixed own = IsDrawable(x) ? measure(Drawable(x), CodeOf(Drawable(x), id)) : 0;
  __syncthreads();
  shared.weights[threadIdx.x] = own;
  __syncthreads();
  Fixed before = 0;
  for (unsigned i = 0; i < threadIdx.x; ++i) before += shared.weights[i];
  if (own > 0 && before <= target && target - before < own) shared.id = id;
  __syncthreads();
  return shared.id;
}

// Draws where the cuts leave more tokens than a list holds, or there is none.
__device__ inline int32_t DrawFromRow(const LogitRow& row, const LogitAsk& ask,
                                      const Weigher& weigh, RowShared& shared) {
  Code cut = 0;
  if (ask.top_k > 0) cut = FindCut(row, static_cast<Fixed>(ask.top_k), shared, CountOne);
  if (ask.top_p != 0) {
    const auto kept = [weigh, cut](float x, Code code) {
      return code >= cut ? ToFixed(weigh(x)) : 0;
    };
    Fixed own = 0;
    ForDrawable(row, [&](float x, Code code) { own += kept(x, code); });
    const Fixed total = RowSum(own, shared.partial);
    cut = FindCut(row, ShareOf(ask.top_p, total), shared, kept);
  }
  const float min_p = ask.min_p;
  return PickInRow(row, ask.uniform, shared, [weigh, cut, min_p](float x, Code code) -> Fixed {
    if (code < cut) return 0;
    const float weight = weigh(x);
    return weight < min_p ? 0 : ToFixed(weight);
  });
}

// Draws a token of a row in which some can be drawn.
__device__ inline int32_t Draw(const LogitRow& row, const LogitAsk& ask, const BestTokens& best,
                               RowShared& shared) {
  const Weigher weigh = {LogitOf(best.of_row), ask.temperature};
  Code bound = 0;  // all that the cuts keep is from here on
  Fixed total = 0;
  if (ask.top_k > 0 && ask.top_k <= kListed) bound = BoundOfTop(best, ask.top_k, shared);
  if (ask.min_p > 0 && ask.top_p == 0) {
    const Code least = BoundBelow(weigh.max + ask.log_min_p * ask.temperature);
    bound = least > bound ? least : bound;
  }
  if (ask.top_p != 0 && ask.top_k == 0) {
    Fixed own = 0;
    ForDrawable<4>(row, [&](float x, Code) { own += ToFixed(weigh(x)); });
    total = RowSum(own, shared.partial);
    // All tokens that weigh less than this together hold less than 1 - top_p: none is needed.
    const Fixed spare = total - ShareOf(ask.top_p, total);
    const float weight = static_cast<float>(spare / (2 * static_cast<Fixed>(row.size))) / kFixedOne;
    constexpr float kSlack = 1e-3f;  // the cut itself is made on the weights
    if (weight > 0)
      bound = BoundBelow(weigh.max + (logf(weight) - kSlack) * double{ask.temperature});
  }
  if (bound != 0 || row.size <= kListed) {
    const int count = List(row, shared, [bound](float, Code code) { return code >= bound; });
    if (count <= kListed) return DrawListed(ask, weigh, count, total, shared);
  }
  return DrawFromRow(row, ask, weigh, shared);
}

}  // namespace spade::cuda
