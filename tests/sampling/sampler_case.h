#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "engine/sampling/sampler.h"
#include "tests/sampling/reference_sampler.h"

namespace spade::testing {

// One sequence's surroundings, so that a test names only what it is about.
struct Case {
  std::vector<float> logits = {};
  SamplingParams params = {};
  std::vector<TokenId> prompt = {};
  std::vector<TokenId> output = {};
  std::vector<TokenId> banned = {};

  SampledToken Draw(int32_t position = 0, uint32_t index = 0) const {
    TokenHistory history(prompt);
    for (const TokenId id : output) history.Append(id);
    SamplerScratch scratch;
    return Sample(logits, params, history, banned, index, position, scratch);
  }
  std::map<TokenId, double> Expected() const {
    return ReferenceDistribution(logits, params, prompt, output, banned);
  }
  // The tokens drawn at 2,000 positions.
  std::set<TokenId> Support() const {
    std::set<TokenId> ids;
    for (int32_t position = 0; position < 2000; ++position) ids.insert(Draw(position).id);
    return ids;
  }
};

inline std::vector<float> RandomLogits(size_t count, uint32_t seed, float spread = 2.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

}  // namespace spade::testing
