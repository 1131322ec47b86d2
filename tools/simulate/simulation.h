#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/schedule/hold_policy.h"
#include "loadtest/stats.h"
#include "tools/simulate/fleet.h"
#include "tools/simulate/policy.h"

namespace spade::simulate {

struct Goal {
  double ttft_seconds = 1;    // of a good request, at most
  double tpot_seconds = 0.1;  // its mean time from token to token, at most
};

// The figures of one run; latencies in milliseconds.
struct Figures {
  std::string policy;
  int64_t completed = 0;
  int64_t refused = 0;
  double duration_s = 0;  // from the first arrival to the last token
  double requests_per_s = 0;
  double tokens_per_s = 0;
  double good_per_s = 0;  // requests that met the goal
  loadtest::Summary ttft;
  loadtest::Summary gap;            // between two tokens of a sequence
  double mean_rows = 0;             // a step
  double early_share = 0;           // of the tokens
  double compute_saved = 0;         // layer-rows not run
  double simulated_per_wall_s = 0;  // how much faster than real time
};

Figures FiguresOf(const std::string& policy, const RunRecord& record, const Goal& goal);

// Runs all requests to their end by a clock of its own.
RunRecord Simulate(Policy& policy, std::span<const Request> requests, const EngineShape& shape,
                   const StepCosts& costs, const ExitDepths& depths);

struct PolicyOptions {
  int32_t drex_batch = 0;  // as HoldOptions::batch
  double longest_wait = HoldOptions{}.longest_wait;
};

// The names that SimulatePolicy knows: full, grouped, drex, ours, in which no row waits at an
// exit, and ours-hold, in which rows do where the costs say that it pays.
std::vector<std::string> PolicyNames();
// INVALID_ARGUMENT for a name that is none of them.
absl::StatusOr<RunRecord> SimulatePolicy(const std::string& name, const PolicyOptions& options,
                                         std::span<const Request> requests,
                                         const EngineShape& shape, const StepCosts& costs,
                                         const ExitDepths& depths);

}  // namespace spade::simulate
