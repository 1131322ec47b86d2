#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "engine/exit/calibration.h"
#include "kernels/check.h"

namespace spade {
namespace {

// Independent sums in a fixed order: vectors for the compiler, the same bits on every machine.
constexpr size_t kLanes = 16;

float Dot(const float* a, const float* b, size_t count) {
  std::array<float, kLanes> sums = {};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < count; ++i) sums[0] += a[i] * b[i];
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

// Softmax in place; returns the entropy in nats.
float SoftmaxEntropy(std::span<float> logits) {
  const float top = *std::ranges::max_element(logits);
  double sum = 0;
  double weighted = 0;  // sum of exp(z) * z, z = logit - top
  for (float& value : logits) {
    const double z = value - top;
    const double e = std::exp(z);
    value = static_cast<float>(e);
    sum += e;
    weighted += e * z;
  }
  for (float& value : logits) value = static_cast<float>(value / sum);
  const double entropy = std::log(sum) - weighted / sum;
  return static_cast<float>(entropy < 0 ? 0 : entropy);  // NaN stays NaN
}

}  // namespace

float ExitHead::Entropy(std::span<const float> hidden, std::span<float> probabilities) const {
  const size_t size = hidden.size();
  SPADE_CHECK(probabilities.size() == bias.size() && weight.size() == bias.size() * size);
  const float squares = Dot(hidden.data(), hidden.data(), size);
  const float rms = std::sqrt(squares / static_cast<float>(size));
  const float scale = rms > 0 ? 1 / rms : 0.0f;
  for (size_t k = 0; k < bias.size(); ++k) {
    const float logit = Dot(weight.data() + k * size, hidden.data(), size) * scale + bias[k];
    probabilities[k] = logit / temperature;
  }
  const float entropy = SoftmaxEntropy(probabilities);
  // A hidden state that is not finite must never look certain.
  return std::isfinite(entropy) ? entropy : std::log(static_cast<float>(bias.size()));
}

}  // namespace spade
