#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/exit/outcomes.h"

namespace spade {

// A population of prompts whose exits' entropies and mismatches have a known law: at exit e a
// prompt of difficulty u (uniform) shows an entropy near u and errs with a probability that grows
// with u and shrinks with depth.
class Population {
 public:
  explicit Population(std::vector<double> error_scales) : error_scales_(std::move(error_scales)) {}

  ExitOutcomes Draw(int64_t prompts, std::mt19937_64& rng) const {
    std::uniform_real_distribution<double> uniform(0, 1);
    std::normal_distribution<double> noise(0, 0.05);
    ExitOutcomes outcomes;
    for (size_t e = 0; e < error_scales_.size(); ++e) {
      outcomes.exits.push_back(ExitColumn{static_cast<int32_t>(4 + 2 * e), {}, {}});
    }
    for (int64_t p = 0; p < prompts; ++p) {
      outcomes.rows.push_back(100);
      const double difficulty = uniform(rng);
      // One draw a prompt: a prompt that errs at a deep exit errs at the shallow ones too.
      const double luck = uniform(rng);
      for (size_t e = 0; e < error_scales_.size(); ++e) {
        const double entropy = std::abs(difficulty + noise(rng));
        outcomes.exits[e].entropies.push_back(static_cast<float>(entropy));
        outcomes.exits[e].mismatches.push_back(
            luck < std::min(1.0, error_scales_[e] * difficulty * difficulty));
      }
    }
    return outcomes;
  }

 private:
  std::vector<double> error_scales_;  // (exits)
};

}  // namespace spade
