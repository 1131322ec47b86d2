#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "engine/base/types.h"
#include "engine/sampling/sampling_params.h"

namespace spade {

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;
};

struct SampledToken {
  TokenId id = 0;     // kNoTokenId: no logit that could be drawn
  float logprob = 0;  // of the model's own distribution: before bias, penalties, temperature
  int32_t rank = 0;   // 1: the model's most probable token
  std::vector<TokenLogprob> top;  // num_logprobs alternatives, most probable first
};

// Tokens of one step: mostly one, which then costs no allocation.
using SampledTokens = absl::InlinedVector<SampledToken, 1>;

// What the sampler must know of one sequence; it grows with Append.
class TokenHistory {
 public:
  struct Count {
    TokenId id = 0;
    int32_t in_output = 0;  // 0: in the prompt only
  };

  explicit TokenHistory(std::span<const TokenId> prompt);
  void Append(TokenId id);
  bool Seen(TokenId id) const;  // in prompt or output
  int32_t OutputCount(TokenId id) const;
  // Each token once, in the order in which they came.
  std::span<const Count> counts() const { return counts_; }

 private:
  Count& CountOf(TokenId id);

  std::vector<Count> counts_;                   // one after another: read whole at every draw
  std::unordered_map<TokenId, size_t> places_;  // in counts_
};

// Scratch of one sampling call, reused so that a steady state allocates nothing. One a thread.
struct SamplerScratch {
  struct Ranked {
    float logit = 0;
    TokenId id = 0;
    float weight = 0;
  };
  std::vector<float> logits;        // (vocab): after bias, bans and penalties
  std::vector<float> group_maxima;  // see vocab_scan.h
  std::vector<float> selection;
  std::vector<TokenId> candidates;  // tokens not yet cut, by id
  std::vector<float> weights;       // theirs; the most probable token's is 1
  std::vector<Ranked> ranked;       // the candidates in an order of their own
};

// Draws the token after `logits` (vocab, at least 1). Deterministic: the draw's noise is a function
// of (params.seed, sequence_index, position) alone, so that the same request gives the same tokens
// in any batch, after preemption, and when drafts are verified. `banned`: tokens that may not be
// drawn now (stop tokens before min_tokens). The uniform number u of the draw picks the first
// token, by id, at which the summed probability of the tokens left exceeds u. Ties go to the lowest
// id. Where bias, bans and penalties leave nothing, the allowed token of the highest logit is
// drawn, banned or not. Logits that are NaN or -infinity are never drawn: where no allowed one is
// another, the id is kNoTokenId. logprob, rank and top are set only where params.num_logprobs is.
// `params` passed Validate; other ids outside the vocabulary (banned, history) have no effect.
// Thread-safe for distinct scratch.
SampledToken Sample(std::span<const float> logits, const SamplingParams& params,
                    const TokenHistory& history, std::span<const TokenId> banned,
                    uint32_t sequence_index, int32_t position, SamplerScratch& scratch);

// log softmax of one token, and the `count` most probable ones (fewer if fewer can be drawn): for
// prompt logprobs. A token that cannot be drawn has -infinity, and with it rank 1 if none can be.
SampledToken Score(std::span<const float> logits, TokenId actual, int32_t count,
                   SamplerScratch& scratch);

}  // namespace spade
