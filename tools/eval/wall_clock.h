#pragma once

#include <span>
#include <vector>

#include "tools/eval/evaluation.h"
#include "tools/trace/loaded_model.h"

namespace spade {

// Times climbs over `prompts` at full depth and with the exits of every outcome's certificate, in
// batches of each of `batch_sizes`; full depth and exits take turns, so that a busy machine slows
// both. (batch sizes, outcomes)
std::vector<WallClock> MeasureWallClock(LoadedModel& loaded, std::span<const Prompt> prompts,
                                        const Calibration& calibration,
                                        std::span<const CertificateOutcome> outcomes,
                                        std::span<const int32_t> batch_sizes);

}  // namespace spade
