#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "engine/runtime/engine.h"
#include "tools/simulate/fleet.h"
#include "tools/simulate/workload.h"

namespace spade::bench {

// Sends the requests to the engine when they are due and notes when their tokens come. FAST
// requests ask for kForcedMismatch.
absl::StatusOr<simulate::RunRecord> RunTrace(Engine& engine,
                                             std::span<const simulate::Request> requests,
                                             ExitMode mode);

}  // namespace spade::bench
