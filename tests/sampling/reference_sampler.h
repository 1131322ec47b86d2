#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/sampling/sampler.h"

namespace spade::testing {

// The probabilities that Sample draws with, in full sorts and double precision: the order of
// sampling_params.h, written down once more. Token -> probability, of those that can be drawn.
inline std::map<TokenId, double> ReferenceDistribution(std::span<const float> logits,
                                                       const SamplingParams& params,
                                                       const std::vector<TokenId>& prompt,
                                                       const std::vector<TokenId>& output,
                                                       const std::vector<TokenId>& banned) {
  const std::set<TokenId> allowed(params.allowed_token_ids.begin(), params.allowed_token_ids.end());
  std::vector<std::pair<double, TokenId>> tokens;  // (-logit, id): sorts as the sampler must
  for (TokenId id = 0; id < static_cast<TokenId>(logits.size()); ++id) {
    double logit = static_cast<double>(logits[static_cast<size_t>(id)]);
    if (!allowed.empty() && allowed.count(id) == 0) continue;
    if (std::find(banned.begin(), banned.end(), id) != banned.end()) continue;
    for (const auto& [biased, bias] : params.logit_bias) logit += biased == id ? bias : 0.0;
    const auto in_output = std::count(output.begin(), output.end(), id);
    if (in_output > 0 || std::count(prompt.begin(), prompt.end(), id) > 0) {
      const double penalty = params.repetition_penalty;
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
    logit -= params.frequency_penalty * static_cast<double>(in_output);
    if (in_output > 0) logit -= params.presence_penalty;
    if (logit > -INFINITY) tokens.emplace_back(-logit, id);  // false for NaN
  }
  std::sort(tokens.begin(), tokens.end());
  if (params.greedy()) return {{tokens.at(0).second, 1.0}};

  if (params.top_k > 0 && tokens.size() > static_cast<size_t>(params.top_k)) {
    tokens.resize(static_cast<size_t>(params.top_k));
  }
  std::vector<double> weights;
  double total = 0;
  for (const auto& [negative, id] : tokens) {
    weights.push_back(std::exp((tokens[0].first - negative) / params.temperature));
    total += weights.back();
  }
  size_t kept = 0;
  double sum = 0;
  while (kept < tokens.size() && (kept == 0 || sum < params.top_p * total)) sum += weights[kept++];
  while (kept > 1 && weights[kept - 1] < params.min_p) sum -= weights[--kept];

  std::map<TokenId, double> distribution;
  for (size_t i = 0; i < kept; ++i) distribution[tokens[i].second] = weights[i] / sum;
  return distribution;
}

}  // namespace spade::testing
