// Early exit of a generated sequence: the part of GeneratedSequence that decides.
#include <algorithm>
#include <limits>

#include "engine/runtime/generation.h"

namespace spade {

// Penalties, bias and bans move the choice away from what L-SPADE predicts: VERIFIED then drafts
// nothing, and FAST refuses them at validation.
bool GeneratedSequence::MayExit(int32_t position) const {
  if (!early_ || (is_past_end_ && !early_->drafts())) return false;
  const GenerateRequest& request = generation_->request();
  return position >= static_cast<int32_t>(request.context.prompt.size()) &&
         position >= early_->resumes_at() && num_output_ >= request.min_tokens &&
         request.sampling.plain();
}

LogitQuery GeneratedSequence::GuessQuery(int32_t position) const {
  return PlainDraw(/*row=*/0, generation_->request().sampling, static_cast<uint32_t>(index_),
                   position + 1);
}

bool GeneratedSequence::TryExit(const ExitOffer& offer, const TokenGuess& guess,
                                std::span<const TokenId> candidates, DrawScratch& scratch) {
  if (early_->num_in_row() >= offer.max_in_row || !(guess.entropy < offer.threshold)) return false;
  const TokenId token = Guess(guess, candidates, scratch);
  if (early_->drafts()) {
    // A draft that may end the sequence would need a step without it to be verified.
    const auto num_prompt = static_cast<int32_t>(generation_->request().context.prompt.size());
    const int32_t num_output = guess.position + 2 - num_prompt;  // with the draft
    if (generation_->IsStopToken(token)) return false;
    if (num_output >= *generation_->request().max_tokens) return false;
  }
  early_->Take({offer, token, guess.entropy, /*is_shadowed=*/false});
  if (!early_->drafts()) drawn_.emplace_back().id = token;
  return true;
}

// What full depth draws if L-SPADE is right: the noise is the same.
TokenId GeneratedSequence::Guess(const TokenGuess& guess, std::span<const TokenId> candidates,
                                 DrawScratch& scratch) const {
  const SamplingParams& sampling = generation_->request().sampling;
  if (guess.token >= 0 || sampling.greedy()) return BestCandidate(guess, candidates);
  std::ranges::fill(scratch.logits, -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < candidates.size(); ++i) {
    scratch.logits[static_cast<size_t>(candidates[i])] = guess.logits[i] / guess.temperature;
  }
  return Sample(scratch.logits, sampling, history_, {}, static_cast<uint32_t>(index_),
                guess.position + 1, scratch.sampler)
      .id;
}

}  // namespace spade
