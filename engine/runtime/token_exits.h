#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/base/types.h"
#include "engine/schedule/sequence.h"
#include "kernels/logit_reader.h"
#include "kernels/tensor.h"

namespace spade {

// A row that may leave at an exit, and what L-SPADE makes of it.
struct TokenGuess {
  SequenceId sequence = 0;
  int32_t position = 0;  // of the row
  LogitQuery draw;       // how its token is drawn, if it leaves; the row is not set
  // Set by TokenExits::Guess. Nats, over the candidates and the rest of the vocabulary; infinite
  // where the row must not leave.
  float entropy = 0;
  // What `draw` gives, where the backend drew it; else -1, and logits are there to draw from:
  TokenId token = -1;
  std::span<const float> logits = {};  // (candidates): valid until the next Guess
  float temperature = 1;               // that the logits are divided by
};

// The token that the backend drew, or else the most probable candidate.
inline TokenId BestCandidate(const TokenGuess& guess, std::span<const TokenId> candidates) {
  if (guess.token >= 0) return guess.token;
  const auto best = std::ranges::max_element(guess.logits) - guess.logits.begin();
  return candidates[static_cast<size_t>(best)];
}

// L-SPADE for generated tokens at every exit, as the step asks for it. Owned by the loop.
class TokenExits {
 public:
  virtual ~TokenExits() = default;

  // Ascending ids: what an early token can be.
  virtual std::span<const TokenId> candidates() const = 0;
  // rows: (guesses, hidden), in the backend's memory: the hidden states after `layer` layers, an
  // exit of the calibration. They are overwritten.
  virtual void Guess(int32_t layer, Tensor rows, std::span<TokenGuess> guesses) = 0;
};

}  // namespace spade
