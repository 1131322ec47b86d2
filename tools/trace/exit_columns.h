#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/exit/outcomes.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/traces.h"

namespace spade {

// What the prompts that `included` takes meet at the exits of `heads`.
ExitOutcomes MakeOutcomes(const Traces& traces, const std::vector<Prompt>& prompts,
                          std::span<const ExitHead> heads, SpadePosition position,
                          const std::function<bool(const Prompt&)>& included);

// Seconds of one entropy check, measured here.
double SecondsPerCheck(const ExitHead& head, std::span<const float> hidden);

// Trade-off of one entropy threshold at all exits, from none leaving to all.
std::vector<TradePoint> TradeCurve(const ExitOutcomes& outcomes, const LayerCosts& costs,
                                   int32_t points);

// Saving if every prompt left at the earliest exit from which on the SPADE answer is full depth's
// at all later exits, and never otherwise: what a perfect gate could have.
double OracleSaving(const ExitOutcomes& outcomes, const LayerCosts& costs);

}  // namespace spade
