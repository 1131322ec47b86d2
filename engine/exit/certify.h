#pragma once

#include <span>
#include <vector>

#include "engine/exit/calibration.h"
#include "engine/exit/outcomes.h"

namespace spade {

// Tests the planned threshold vectors in order and returns the last one before the first that
// fails, with its counts. A vector passes when at every open exit the exact upper bound of the
// mismatch rate, among the prompts that leave there, is at most `max_mismatch`. All exits closed
// where none passes.
//
// The guarantee: P(some exit of the returned vector has a true rate above max_mismatch) is at most
// 1 - confidence. `plan` is fixed before certification prompts are seen. Take the plan's first
// vector with an exit above the rate: to return it or a later one, that exit must have passed, and
// the exact bound lets it pass with probability 1 - confidence at most. Because one passing vector
// needs every exit to pass (an intersection-union test, in fixed sequence), no further correction
// for the number of exits or of vectors is due, although later exits see only the prompts that
// earlier ones leave.
Certificate Certify(const ExitOutcomes& certification, std::span<const std::vector<float>> plan,
                    const LayerCosts& costs, double max_mismatch, double confidence);

}  // namespace spade
