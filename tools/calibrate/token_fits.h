#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/token_fit.h"
#include "tools/calibrate/fit_target.h"
#include "tools/trace/token_traces.h"

namespace spade {

// The records that a fit learns from, and those that stop it.
struct FitRecords {
  std::span<const size_t> fitting;
  std::span<const size_t> validation;
};

struct TargetFit {
  TokenFit fit;
  double kl_full = 0;  // mean KL(full depth || L-SPADE) on validation, nats
};

// L-SPADE fitted to `target` at every watched layer, several at a time. `num_threads`: 0: one per
// core.
absl::StatusOr<std::vector<TargetFit>> FitTokenExits(const TokenTraces& traces,
                                                     const CandidateHead& head,
                                                     const FitRecords& records, FitTarget target,
                                                     int32_t rank, int32_t num_threads);

}  // namespace spade
