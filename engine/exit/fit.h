#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/calibration.h"

namespace spade {

// Examples for one exit head: what the answer row held there, and what the target made of it: the
// SPADE pass from there, or full depth (self-supervised: no true labels). Not owned.
struct HeadExamples {
  int64_t samples = 0;
  int64_t hidden_size = 0;
  int64_t labels = 0;
  std::span<const float> hidden;  // (samples, hidden_size), as the layers leave it
  std::span<const float> logits;  // (samples, labels): the target's
};

struct FitOptions {
  std::vector<double> ridges = {1e-4, 1e-3, 1e-2, 1e-1, 1};
  std::vector<double> weight_decays = {0, 1e-4, 1e-3, 1e-2, 1e-1};
  int max_iterations = 200;
  int patience = 10;  // iterations without a better validation loss before stopping
};

struct HeadFit {
  ExitHead head;
  double kl = 0;         // mean KL(target || head) on validation, nats
  double agreement = 0;  // share of validation samples with the target's label
  double ridge = 0;      // chosen on validation
  double weight_decay = 0;
};

// Fits L-SPADE at one exit. Ridge regression onto the centred logits starts it; L-BFGS then
// minimises KL(target || head). Validation, at its best temperature, says when to stop, chooses
// ridge and weight decay, and sets the head's temperature. Deterministic. INVALID_ARGUMENT for
// fewer than two samples in either part or values that are not finite.
absl::StatusOr<HeadFit> FitExitHead(int32_t layer, const HeadExamples& fitting,
                                    const HeadExamples& validation, const FitOptions& options);

}  // namespace spade
