#include "engine/sampling/vocab_scan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "kernels/exp_one.h"

namespace spade {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kArgMaxGroup = 512;  // large: what its maximum costs beside one pass is small

// b where a is NaN; written so that it compiles to a vector instruction.
inline float Max(float a, float b) { return a > b ? a : b; }

// A type, not an array: GCC takes an array of lanes apart into scalars.
using Four = float __attribute__((vector_size(16)));

float MaxOf(const float* values, size_t count) {
  constexpr size_t kVectors = kLanes / 4;
  Four lanes[kVectors];
  std::fill(lanes, lanes + kVectors, Four{} + kNoLogit);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t v = 0; v < kVectors; ++v) {
      Four next;
      std::memcpy(&next, values + i + 4 * v, sizeof(next));
      lanes[v] = next > lanes[v] ? next : lanes[v];
    }
  }
  float max = kNoLogit;
  for (; i < count; ++i) max = Max(values[i], max);
  for (const Four& four : lanes) {
    for (size_t lane = 0; lane < 4; ++lane) max = Max(four[lane], max);
  }
  return max;
}

}  // namespace

TokenId ArgMax(std::span<const float> logits) {
  float best = kNoLogit;
  size_t best_group = 0;
  for (size_t at = 0; at < logits.size(); at += kArgMaxGroup) {
    const size_t count = std::min(kArgMaxGroup, logits.size() - at);
    const float max = Drawable(MaxOf(logits.data() + at, count));
    if (max > best) {
      best = max;
      best_group = at;
    }
  }
  if (best == kNoLogit) return kNoTokenId;
  size_t id = best_group;
  while (!(Drawable(logits[id]) == best)) ++id;
  return static_cast<TokenId>(id);
}

float GroupMaxima(std::span<const float> logits, std::vector<float>& maxima) {
  maxima.clear();
  float best = kNoLogit;
  for (size_t at = 0; at < logits.size(); at += kScanGroup) {
    const float max = MaxOf(logits.data() + at, std::min(kScanGroup, logits.size() - at));
    maxima.push_back(Drawable(max));
    best = Max(maxima.back(), best);
  }
  return best;
}

float LowerBoundOfTop(std::span<const float> maxima, int32_t count, std::vector<float>& scratch) {
  const auto rank = static_cast<size_t>(count) - 1;
  if (rank >= maxima.size()) return kNoLogit;
  scratch.assign(maxima.begin(), maxima.end());
  const auto nth = scratch.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(scratch.begin(), nth, scratch.end(), std::greater<>());
  return *nth;
}

void GatherAtLeast(std::span<const float> logits, std::span<const float> maxima, float bound,
                   std::vector<TokenId>& ids) {
  size_t count = 0;
  ids.clear();
  for (size_t group = 0; group < maxima.size(); ++group) {
    if (maxima[group] < bound || maxima[group] == kNoLogit) continue;
    const size_t end = std::min((group + 1) * kScanGroup, logits.size());
    ids.resize(count + kScanGroup);
    // Without branches, which few or many hits alike would mispredict.
    for (size_t id = group * kScanGroup; id < end; ++id) {
      ids[count] = static_cast<TokenId>(id);
      count += int{logits[id] >= bound} & int{logits[id] > kNoLogit};
    }
  }
  ids.resize(count);
}

void ExpInPlace(std::span<float> values) {
  for (float& value : values) value = ExpOrZero(value);
}

double LogSumExp(std::span<const float> logits, float max) {
  double total = 0;
  size_t i = 0;
  for (; i + kScanGroup <= logits.size(); i += kScanGroup) {
    float lanes[kLanes] = {};
    for (size_t j = 0; j < kScanGroup; j += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        lanes[lane] += ExpOne(Drawable(logits[i + j + lane]) - max);
      }
    }
    float sum = 0;
    for (const float lane : lanes) sum += lane;
    total += static_cast<double>(sum);
  }
  for (; i < logits.size(); ++i) {
    total += static_cast<double>(ExpOne(Drawable(logits[i]) - max));
  }
  return static_cast<double>(max) + std::log(total);
}

}  // namespace spade
