#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/exit/calibration.h"
#include "engine/exit/outcomes.h"

namespace spade {

// The certificates of those bounds that open an exit: planned on `planning`, tested on
// `certification`, of which planning saw nothing.
std::vector<Certificate> CertifyBounds(const ExitOutcomes& planning,
                                       const ExitOutcomes& certification, const LayerCosts& costs,
                                       std::span<const double> max_mismatches, double confidence);

}  // namespace spade
