#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/types.h"

namespace spade {

inline constexpr float kMaxTemperature = 100.0f;
inline constexpr float kMaxRepetitionPenalty = 100.0f;
inline constexpr float kMaxPenalty = 2.0f;  // presence and frequency: [-kMaxPenalty, kMaxPenalty]
inline constexpr float kMaxLogitBias = 100.0f;  // [-kMaxLogitBias, kMaxLogitBias]
inline constexpr int32_t kMaxLogprobs = 20;

// How the next token is chosen from the logits; plain data, defaults as in the OpenAI API.
// Order of application:
//   1. logit_bias is added; ids outside a non-empty allowed_token_ids are left out.
//   2. The ban of stop tokens before min_tokens.
//   3. Penalties: repetition divides a positive logit and multiplies a negative one, of tokens in
//      prompt or output; then frequency_penalty * (occurrences in the output) and presence_penalty
//      (if there is any) are subtracted.
//   4. Temperature 0 takes the highest logit; else logits are divided by it.
//   5. top_k keeps the k most probable; top_p then the fewest most probable ones that hold at least
//      that share of what is left; min_p then those with at least that share of the most probable
//      one's probability. Each keeps at least one token; of equally probable ones the lowest ids.
//   6. One draw from what is left, in proportion to probability.
struct SamplingParams {
  float temperature = 1.0f;                           // 0: greedy
  int32_t top_k = 0;                                  // 0: off
  float top_p = 1.0f;                                 // 1: off
  float min_p = 0.0f;                                 // 0: off
  float repetition_penalty = 1.0f;                    // over prompt and output; 1: off
  float presence_penalty = 0.0f;                      // over output
  float frequency_penalty = 0.0f;                     // over output
  std::vector<std::pair<TokenId, float>> logit_bias;  // an id listed twice gets both
  std::vector<TokenId> allowed_token_ids;             // empty: all
  uint64_t seed = 0;
  // Alternatives beside the chosen token's own logprob; unset: neither is computed.
  std::optional<int32_t> num_logprobs;

  bool greedy() const { return temperature == 0.0f; }
  bool has_penalties() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
  // Nothing but the model's own logits orders the tokens.
  bool plain() const { return !has_penalties() && logit_bias.empty() && allowed_token_ids.empty(); }
};

// INVALID_ARGUMENT, naming the field: NaN, infinity, out of range, ids outside the vocabulary.
absl::Status Validate(const SamplingParams& params, int32_t vocab_size);

}  // namespace spade
