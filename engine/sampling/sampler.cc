#include "engine/sampling/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "engine/sampling/draw_noise.h"
#include "engine/sampling/vocab_scan.h"
#include "kernels/check.h"

namespace spade {
namespace {

float LogitOf(std::span<const float> logits, TokenId id) {
  return Drawable(logits[static_cast<size_t>(id)]);
}

// The order of all cuts and ties: by logit, then by id.
bool MoreProbable(const SamplerScratch::Ranked& a, const SamplerScratch::Ranked& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void Penalise(const SamplingParams& params, const TokenHistory& history, std::span<float> logits) {
  for (const auto& [id, count] : history.counts()) {
    if (static_cast<size_t>(id) >= logits.size()) continue;  // negative ids, too
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit > 0.0f ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (count == 0) continue;
    logit -= params.frequency_penalty * static_cast<float>(count) + params.presence_penalty;
  }
}

// The logits after bias, allowed ids, bans and penalties; `logits` itself where there are none.
std::span<const float> Adjust(std::span<const float> logits, const SamplingParams& params,
                              const TokenHistory& history, std::span<const TokenId> banned,
                              SamplerScratch& scratch) {
  const bool penalties = params.has_penalties();
  if (params.logit_bias.empty() && params.allowed_token_ids.empty() && banned.empty() &&
      !penalties) {
    return logits;
  }
  std::vector<float>& adjusted = scratch.logits;
  if (params.allowed_token_ids.empty()) {
    adjusted.assign(logits.begin(), logits.end());
  } else {
    adjusted.assign(logits.size(), kNoLogit);
    for (const TokenId id : params.allowed_token_ids) {
      adjusted[static_cast<size_t>(id)] = logits[static_cast<size_t>(id)];
    }
  }
  for (const auto& [id, bias] : params.logit_bias) adjusted[static_cast<size_t>(id)] += bias;
  for (const TokenId id : banned) {
    if (static_cast<size_t>(id) < adjusted.size()) adjusted[static_cast<size_t>(id)] = kNoLogit;
  }
  if (penalties) Penalise(params, history, adjusted);
  return adjusted;
}

// Nothing is left to draw: what comes nearest to the request; kNoTokenId where nothing ever was.
TokenId LastResort(std::span<const float> logits, std::span<const TokenId> allowed) {
  if (allowed.empty()) return ArgMax(logits);
  TokenId best = kNoTokenId;
  float best_logit = kNoLogit;
  for (const TokenId id : allowed) {
    const float logit = LogitOf(logits, id);
    if (logit > best_logit || (logit == best_logit && id < best)) {
      best = id;
      best_logit = logit;
    }
  }
  return best;
}

// Fills `ranked` with the candidates, by id; with their weights, if they have any yet.
void ListCandidates(std::span<const float> logits, bool weighed, SamplerScratch& scratch) {
  scratch.ranked.clear();
  for (size_t i = 0; i < scratch.candidates.size(); ++i) {
    const TokenId id = scratch.candidates[i];
    scratch.ranked.push_back({LogitOf(logits, id), id, weighed ? scratch.weights[i] : 0.0f});
  }
}

// Keeps the `count` most probable candidates, by id as before.
void KeepTop(std::span<const float> logits, int32_t count, SamplerScratch& scratch) {
  if (scratch.candidates.size() <= static_cast<size_t>(count)) return;
  ListCandidates(logits, /*weighed=*/false, scratch);
  const auto last = scratch.ranked.begin() + (count - 1);
  std::nth_element(scratch.ranked.begin(), last, scratch.ranked.end(), MoreProbable);
  std::erase_if(scratch.candidates, [&, cut = *last](TokenId id) {
    return MoreProbable(cut, {LogitOf(logits, id), id, 0.0f});
  });
}

// The candidates' probabilities, relative to the most probable token's.
void Weigh(std::span<const float> logits, float max, float temperature, SamplerScratch& scratch) {
  scratch.weights.clear();
  for (const TokenId id : scratch.candidates) scratch.weights.push_back(LogitOf(logits, id));
  for (float& weight : scratch.weights) weight = (weight - max) / temperature;
  ExpInPlace(scratch.weights);
}

double Total(std::span<const float> weights) {
  std::array<double, 4> sums = {};
  for (size_t i = 0; i < weights.size(); ++i) sums[i % 4] += static_cast<double>(weights[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Drops the candidates (places in `candidates`) of which `drop` is true.
template <typename Drop>
void DropCandidates(const Drop& drop, SamplerScratch& scratch) {
  size_t kept = 0;
  for (size_t i = 0; i < scratch.candidates.size(); ++i) {
    const bool keep = !drop(i);
    scratch.candidates[kept] = scratch.candidates[i];
    scratch.weights[kept] = scratch.weights[i];
    kept += keep;
  }
  scratch.candidates.resize(kept);
  scratch.weights.resize(kept);
}

// The least probable of the fewest most probable tokens of `ranked` (not empty) that together weigh
// `least`. In linear time: halves the range that it must be in.
SamplerScratch::Ranked NucleusEnd(std::vector<SamplerScratch::Ranked>& ranked, double least) {
  auto first = ranked.begin();
  auto last = ranked.end();
  while (last - first > 1) {
    const auto middle = first + (last - first) / 2;
    std::nth_element(first, middle, last, MoreProbable);
    double sum = 0;
    for (auto token = first; token != middle; ++token) sum += static_cast<double>(token->weight);
    if (sum >= least) {
      last = middle;
    } else {
      least -= sum;
      first = middle;
    }
  }
  return *first;
}

// Keeps the fewest most probable candidates that hold `top_p` of the weight.
void KeepNucleus(std::span<const float> logits, float top_p, SamplerScratch& scratch) {
  const double total = Total(scratch.weights);
  const double least = static_cast<double>(top_p) * total;
  // All tokens that weigh less than this together hold less than 1 - top_p: none is needed.
  const auto negligible =
      static_cast<float>(0.5 * (total - least) / static_cast<double>(scratch.weights.size()));
  DropCandidates([&](size_t i) { return scratch.weights[i] < negligible; }, scratch);
  ListCandidates(logits, /*weighed=*/true, scratch);
  const auto drop = [&, end = NucleusEnd(scratch.ranked, least)](size_t i) {
    const TokenId id = scratch.candidates[i];
    return MoreProbable(end, {LogitOf(logits, id), id, 0.0f});
  };
  DropCandidates(drop, scratch);
}

// A logit that every token with at least `min_p` of the highest one's probability reaches.
float MinPBound(float max, const SamplingParams& params) {
  const double slack = 1e-3;  // the cut itself is made on the weights
  const double bound =
      static_cast<double>(max) + (std::log(static_cast<double>(params.min_p)) - slack) *
                                     static_cast<double>(params.temperature);
  const double lowest = std::numeric_limits<float>::lowest();
  return std::nextafter(static_cast<float>(std::max(bound, lowest)), kNoLogit);
}

TokenId Pick(double uniform, const SamplerScratch& scratch) {
  const double target = uniform * Total(scratch.weights);
  double sum = 0;
  size_t picked = 0;
  for (size_t i = 0; i < scratch.weights.size(); ++i) {
    if (scratch.weights[i] == 0.0f) continue;
    picked = i;
    sum += static_cast<double>(scratch.weights[i]);
    if (sum > target) break;
  }
  return scratch.candidates[picked];
}

// kNoTokenId: nothing can be drawn.
TokenId Draw(std::span<const float> logits, const SamplingParams& params, double uniform,
             SamplerScratch& scratch) {
  const float max = GroupMaxima(logits, scratch.group_maxima);
  if (max == kNoLogit) return kNoTokenId;
  float bound = kNoLogit;
  if (params.top_k > 0) {
    bound = LowerBoundOfTop(scratch.group_maxima, params.top_k, scratch.selection);
  }
  // With top_p on, the tokens below min_p count in the total that top_p is a share of.
  if (params.min_p > 0.0f && params.top_p >= 1.0f) bound = std::max(bound, MinPBound(max, params));

  GatherAtLeast(logits, scratch.group_maxima, bound, scratch.candidates);
  if (params.top_k > 0) KeepTop(logits, params.top_k, scratch);
  Weigh(logits, max, params.temperature, scratch);
  if (params.top_p < 1.0f) KeepNucleus(logits, params.top_p, scratch);
  if (params.min_p > 0.0f) {
    DropCandidates([&](size_t i) { return scratch.weights[i] < params.min_p; }, scratch);
  }
  return Pick(uniform, scratch);
}

}  // namespace

TokenHistory::TokenHistory(std::span<const TokenId> prompt) {
  for (const TokenId id : prompt) CountOf(id);
}

TokenHistory::Count& TokenHistory::CountOf(TokenId id) {
  const auto [place, is_new] = places_.try_emplace(id, counts_.size());
  if (is_new) counts_.push_back({id, 0});
  return counts_[place->second];
}

void TokenHistory::Append(TokenId id) { ++CountOf(id).in_output; }

bool TokenHistory::Seen(TokenId id) const { return places_.contains(id); }

int32_t TokenHistory::OutputCount(TokenId id) const {
  const auto found = places_.find(id);
  return found == places_.end() ? 0 : counts_[found->second].in_output;
}

SampledToken Sample(std::span<const float> logits, const SamplingParams& params,
                    const TokenHistory& history, std::span<const TokenId> banned,
                    uint32_t sequence_index, int32_t position, SamplerScratch& scratch) {
  SPADE_CHECK(!logits.empty());
  const auto adjusted = Adjust(logits, params, history, banned, scratch);
  TokenId id = params.greedy() ? ArgMax(adjusted)
                               : Draw(adjusted, params,
                                      Uniform(params.seed, sequence_index, position), scratch);
  if (id == kNoTokenId) id = LastResort(logits, params.allowed_token_ids);
  const bool is_scored = id != kNoTokenId && params.num_logprobs.has_value();
  if (!is_scored) return SampledToken{.id = id, .top = {}};
  return Score(logits, id, *params.num_logprobs, scratch);
}

SampledToken Score(std::span<const float> logits, TokenId actual, int32_t count,
                   SamplerScratch& scratch) {
  SPADE_CHECK(static_cast<size_t>(actual) < logits.size());
  const float max = GroupMaxima(logits, scratch.group_maxima);
  SampledToken scored{.id = actual, .logprob = kNoLogit, .rank = 1, .top = {}};
  if (max == kNoLogit) return scored;
  const double log_sum = LogSumExp(logits, max);
  const auto logprob = [&](TokenId id) {
    const auto logit = static_cast<double>(LogitOf(logits, id));
    return std::isnan(logit) ? kNoLogit : static_cast<float>(logit - log_sum);
  };
  scored.logprob = logprob(actual);

  const auto place = static_cast<size_t>(actual);
  const float own = std::isnan(logits[place]) ? kNoLogit : Drawable(logits[place]);
  for (size_t i = 0; i < place; ++i) scored.rank += Drawable(logits[i]) >= own;
  for (size_t i = place + 1; i < logits.size(); ++i) scored.rank += Drawable(logits[i]) > own;
  if (count <= 0) return scored;

  GatherAtLeast(logits, scratch.group_maxima,
                LowerBoundOfTop(scratch.group_maxima, count, scratch.selection),
                scratch.candidates);
  KeepTop(logits, count, scratch);
  ListCandidates(logits, /*weighed=*/false, scratch);
  std::sort(scratch.ranked.begin(), scratch.ranked.end(), MoreProbable);
  for (const auto& token : scratch.ranked) scored.top.push_back({token.id, logprob(token.id)});
  return scored;
}

}  // namespace spade
