#pragma once

#include <cstdint>
#include <span>

#include "engine/base/types.h"
#include "engine/schedule/sequence.h"
#include "kernels/tensor.h"

namespace spade {

// A row that may leave at an exit, and what L-SPADE makes of it.
struct TokenGuess {
  SequenceId sequence = 0;
  int32_t position = 0;  // of the row
  // Set by TokenExits::Guess. Nats, over the candidates and the rest of the vocabulary; infinite
  // where the row must not leave.
  float entropy = 0;
  std::span<const float> logits;  // (candidates): valid until the next Guess
  float temperature = 1;          // that the logits are divided by
};

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
