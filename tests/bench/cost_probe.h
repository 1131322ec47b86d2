#pragma once

#include <span>

#include "engine/runtime/engine_parts.h"
#include "tools/simulate/step_costs.h"

namespace spade::bench {

// What the model's stages and head take on this machine, medians of `repeats`: for each power of
// two of rows up to the step's. The model must not be in use.
simulate::MeasuredCosts MeasureStages(const EngineOptions& options, EngineParts& parts,
                                      int32_t repeats);

// Of each cost the median over the rounds, all of one engine.
simulate::MeasuredCosts MedianOf(std::span<const simulate::MeasuredCosts> rounds);

}  // namespace spade::bench
