#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/token_calibration.h"

namespace spade {

// The part of the model that turns a final hidden state into the candidates' logits.
struct CandidateHead {
  std::span<const float> rows;  // (candidates, hidden): of the model's head
  std::span<const float> norm;  // (hidden): the final norm's weight
  float norm_epsilon = 0;
};

// Rows of generated tokens at one exit, and what the target made of them: the SPADE pass from
// there, or full depth. Not owned.
struct TokenExamples {
  int64_t samples = 0;
  std::span<const float> hidden;   // (samples, hidden): at the exit
  std::span<const float> final;    // (samples, hidden): the target's, before the final norm
  std::span<const float> targets;  // (samples, candidates + 1): the target's probabilities; the
                                   // last is that of all other tokens
};

// Targets of rows that ended in `final` (samples, hidden), where the logits of all tokens have the
// logarithms of summed exponentials `log_sum_exps` (samples).
std::vector<float> CandidateTargets(const CandidateHead& head, std::span<const float> final,
                                    std::span<const float> log_sum_exps);

struct TokenFitOptions {
  int32_t rank = 64;
  std::vector<double> ridges = {1e-4, 1e-3, 1e-2, 1e-1};
  double weight_decay = 1e-6;
  int max_iterations = 150;
  int patience = 8;  // iterations without a better validation loss before stopping
};

struct TokenFit {
  TokenExit exit;
  double kl = 0;         // mean KL(target || L-SPADE) on validation, nats
  double agreement = 0;  // share of validation samples whose most probable entry is the target's
};

// Fits L-SPADE for the open vocabulary at one exit. Reduced-rank ridge regression onto what the
// target adds starts it; L-BFGS then minimises KL(target || L-SPADE). Validation
// chooses the ridge, says when to stop, and sets the temperature. Deterministic. INVALID_ARGUMENT
// for fewer than two samples in either part or values that are not finite.
absl::StatusOr<TokenFit> FitTokenExit(int32_t layer, const CandidateHead& head,
                                      const TokenExamples& fitting, const TokenExamples& validation,
                                      const TokenFitOptions& options);

// What the exit makes of hidden states (samples, hidden): probabilities (samples, candidates + 1).
std::vector<float> TokenProbabilities(const TokenExit& exit, const CandidateHead& head,
                                      std::span<const float> hidden);

}  // namespace spade
