#pragma once

#include "absl/status/statusor.h"
#include "engine/exit/calibration.h"
#include "engine/exit/token_calibration.h"
#include "engine/runtime/early_tokens.h"
#include "engine/runtime/engine.h"
#include "engine/runtime/request.h"

namespace spade {

// What permits a decision to leave early; both null: nothing does.
struct ExitPermit {
  const Calibration* calibration = nullptr;
  const Certificate* certificate = nullptr;
};

// The permit of a valid request: empty for EXACT. FAILED_PRECONDITION says which part of the
// request no calibration covers. The label ids may be in any order. The result points into
// `model`.
absl::StatusOr<ExitPermit> FindPermit(const DecideRequest& request, const ModelInfo& model);

// The same for a generation. FAST: greedy decoding with nothing that moves the choice, a prompt
// that begins with the start token, and a certificate. VERIFIED: nothing but a calibration.
absl::StatusOr<TokenPermit> FindPermit(const GenerateRequest& request, const ModelInfo& model);

}  // namespace spade
