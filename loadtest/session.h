#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loadtest/metrics.h"
#include "loadtest/options.h"
#include "loadtest/run.h"

namespace spade::loadtest {

// The command line's workload, with its files read, for the server's model.
absl::StatusOr<Workload> MakeWorkload(const Options& options, const ModelFacts& model);

// `rate` 0 is a closed loop, or the trace's own times.
LoadPlan MakePlan(const Options& options, const Workload& workload, double rate,
                  uint64_t first_index);

// Whether a server that was offered this run's rate no longer keeps up: it completes less than 90 %
// of it, or, with an SLO, less than 90 % of its requests are good.
bool IsSaturated(const RunResult& run, const Slo& slo);

// The warm-up, then one run or the sweep's; prints each.
absl::StatusOr<std::vector<RunResult>> RunAll(const Options& options, const Workload& workload);

std::string DescribeWorkload(const Options& options, const Workload& workload);

}  // namespace spade::loadtest
