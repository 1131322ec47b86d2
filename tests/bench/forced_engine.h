#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/runtime/engine_parts.h"

namespace spade::bench {

// The layers that the row at `position` of a sequence is to run at least. Called on the loop's
// thread.
using ForcedDepth = std::function<int32_t(const Sequence&, int32_t position)>;

inline constexpr TokenId kForcedLabels[] = {10, 20, 30, 40};
inline constexpr double kForcedMismatch = 0.01;

// Parts whose exits are where and when a benchmark says, without any calibration. FAST tokens leave
// as `depth` says (L-SPADE's guess costs nothing then). FAST decisions on kForcedLabels with a
// max_mismatch of (i + 1) * kForcedMismatch leave at the i-th of `exit_layers`.
absl::StatusOr<std::unique_ptr<EngineParts>> LoadForcedParts(const EngineOptions& options,
                                                             std::vector<int32_t> exit_layers,
                                                             ForcedDepth depth);

// A greedy generation of `tokens` tokens on such parts, without text.
GenerateRequest ForcedGeneration(std::vector<TokenId> prompt, int32_t tokens, ExitMode mode);

// "LAYER:SHARE,..." for a shape of RandomModel: a mix like that of the certified thresholds in the
// literature, where most rows go on past the middle.
std::string ExitMixOf(const std::string& shape);

}  // namespace spade::bench
