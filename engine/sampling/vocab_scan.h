#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/base/types.h"

namespace spade {

// Passes over a whole vocabulary of logits, written for speed: 150,000 floats, once a token. In all
// of them NaN and -infinity cannot be drawn, and +infinity counts as the largest float.

inline constexpr float kNoLogit = -std::numeric_limits<float>::infinity();
inline constexpr size_t kScanGroup = 64;  // logits whose maximum is kept

// The value a logit counts as; NaN stays NaN, which compares false with all.
inline float Drawable(float logit) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  return kLargest < logit ? kLargest : logit;
}

// The lowest id of the highest logit; kNoTokenId if none can be drawn. One pass.
TokenId ArgMax(std::span<const float> logits);

// Fills `maxima` with the highest logit of each kScanGroup in turn (kNoLogit: none); returns the
// highest of all.
float GroupMaxima(std::span<const float> logits, std::vector<float>& maxima);

// A bound that at least `count` logits reach, as near as group maxima tell; kNoLogit when they tell
// nothing. Reorders `scratch`.
float LowerBoundOfTop(std::span<const float> maxima, int32_t count, std::vector<float>& scratch);

// Fills `ids` with the tokens that can be drawn whose logit is at least `bound`, in order of id.
void GatherAtLeast(std::span<const float> logits, std::span<const float> maxima, float bound,
                   std::vector<TokenId>& ids);

// exp(x) for x <= 0: relative error below 3e-7; exactly 1 at 0; 0 below -87 and for NaN.
void ExpInPlace(std::span<float> values);

// log(sum(exp(logits))) over the tokens that can be drawn, `max` being the highest of them.
double LogSumExp(std::span<const float> logits, float max);

}  // namespace spade
