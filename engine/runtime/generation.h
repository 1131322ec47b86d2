#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/runtime/early_tokens.h"
#include "engine/runtime/request.h"
#include "engine/runtime/stop_matcher.h"
#include "engine/runtime/token_exits.h"
#include "engine/sampling/logit_queries.h"
#include "engine/sampling/sampler.h"
#include "engine/tokenizer/detokenizer.h"
#include "engine/tokenizer/tokenizer.h"

namespace spade {

class Generation;

// Scratch of one draw at a time, reused.
struct DrawScratch {
  SamplerScratch sampler;
  std::vector<float> logits;  // (vocab): a guess, spread over the vocabulary
};

// Output state of one continuation: turns drawn tokens into deltas and knows when it is over.
// Made on the caller's thread, then owned by the loop.
class GeneratedSequence {
 public:
  GeneratedSequence(const Generation* generation, const Tokenizer* tokenizer, int32_t index);

  int32_t index() const { return index_; }
  int32_t num_output() const { return num_output_; }
  // What the sampler needs for the next token.
  const TokenHistory& history() const { return history_; }
  std::span<const TokenId> banned() const;
  // Draws the token after `logits` (vocab), a row at `position - 1`.
  SampledToken Draw(std::span<const float> logits, int32_t position, SamplerScratch& scratch) const;
  // The same where logits of `vocab_size` are in row `row` of a LogitReader: adds the query whose
  // answer it is, false where there is none.
  bool AddQuery(int32_t row, int32_t vocab_size, int32_t position, LogitQueries& queries) const;
  // Appends what was drawn to drawn().
  TokenId Add(SampledToken token);

  // Most tokens it can have.
  int32_t max_tokens() const;

  // The step's logits gave nothing: none was a number that could be drawn or scored.
  bool DrewNothing() const;
  // The tokens that the step gave, in order; Take consumes them.
  std::vector<SampledToken>& drawn() { return drawn_; }
  // The delta that the drawn tokens make, its `finish` set if the sequence ends with one of them:
  // those behind it are dropped.
  GenerateDelta Take(Clock::time_point now, int32_t cached_tokens);

  // Early exit; null for EXACT.
  EarlyTokens* early() { return early_ ? &*early_ : nullptr; }
  // Whether the row at `position` may leave early at all: it is an output token's, and what is
  // drawn after it is what L-SPADE was made for, with FAST certified for: not text behind an EOS.
  bool MayExit(int32_t position) const;
  // What is drawn after it, without bias, bans and penalties.
  LogitQuery GuessQuery(int32_t position) const;
  // Whether that row leaves at `offer`, given L-SPADE's guess: early()->taken() tells the rest.
  bool TryExit(const ExitOffer& offer, const TokenGuess& guess, std::span<const TokenId> candidates,
               DrawScratch& scratch);

  std::optional<Clock::time_point> first_token() const { return first_token_; }
  std::optional<Clock::time_point> last_token() const { return last_token_; }

 private:
  struct Ending {
    FinishReason reason;
    std::optional<TokenId> token;
    std::optional<int> stop;
  };
  // The label token that is next, of a forced generation.
  TokenId ForcedToken() const;
  std::optional<Ending> AddToken(SampledToken token, GenerateDelta* delta);
  TokenId Guess(const TokenGuess& guess, std::span<const TokenId> candidates,
                DrawScratch& scratch) const;
  std::optional<Ending> AddText(TokenId id, std::string* text);
  void AddHeldText(Ending* ending, std::string* text);
  SequenceFinish Describe(const Ending& ending, int32_t cached_tokens) const;

  const Generation* generation_;
  const int32_t index_;
  TokenHistory history_;
  std::optional<Detokenizer> detokenizer_;
  StopMatcher matcher_;
  std::optional<EarlyTokens> early_;
  std::vector<SampledToken> drawn_;
  int32_t num_output_ = 0;
  bool is_past_end_ = false;  // an EOS token was ignored
  std::optional<Clock::time_point> first_token_;
  std::optional<Clock::time_point> last_token_;
};

// A Generate request in work: its sequences and what they share.
class Generation {
 public:
  // `request` is valid; `max_tokens` in it is set. `eos_ids` and what `permit` points to outlive
  // this; EXACT needs no permit.
  Generation(GenerateRequest request, std::shared_ptr<GenerateSink> sink,
             const Tokenizer* tokenizer, std::span<const TokenId> eos_ids, TokenPermit permit = {});
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  const GenerateRequest& request() const { return request_; }
  bool is_forced() const { return !request_.forced.empty(); }
  GenerateSink& sink() { return *sink_; }
  std::vector<std::unique_ptr<GeneratedSequence>>& sequences() { return sequences_; }
  const std::vector<std::unique_ptr<GeneratedSequence>>& sequences() const { return sequences_; }
  const TokenPermit& permit() const { return permit_; }
  bool IsStopToken(TokenId id) const;
  // An EOS token of the model, ignored or not.
  bool EndsText(TokenId id) const;
  std::span<const TokenId> stop_tokens() const { return stop_tokens_; }

  // Prompt logprobs: one per prompt token from the second on, written once each.
  bool scores_prompt() const { return request_.prompt_logprobs.has_value(); }
  std::vector<SampledToken>& prompt_scores() { return prompt_scores_; }
  const std::vector<SampledToken>& prompt_scores() const { return prompt_scores_; }
  // The first prompt token that has no score yet.
  int32_t next_score() const { return next_score_; }
  void set_next_score(int32_t next) { next_score_ = next; }

  std::optional<Clock::time_point> first_scheduled() const { return first_scheduled_; }
  void set_first_scheduled(Clock::time_point now) { first_scheduled_ = now; }

 private:
  GenerateRequest request_;
  std::shared_ptr<GenerateSink> sink_;
  TokenPermit permit_;
  std::span<const TokenId> eos_ids_;
  std::vector<TokenId> stop_tokens_;  // EOS, unless ignored, and the request's own: sorted
  std::vector<SampledToken> prompt_scores_;
  int32_t next_score_ = 1;
  std::optional<Clock::time_point> first_scheduled_;
  std::vector<std::unique_ptr<GeneratedSequence>> sequences_;
};

double SecondsBetween(Clock::time_point from, Clock::time_point to);

}  // namespace spade
