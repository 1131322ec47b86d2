#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "loadtest/client.h"
#include "loadtest/metrics.h"
#include "loadtest/workload.h"

namespace spade::loadtest {

// When requests are sent.
struct LoadPlan {
  // Open loop: one request at each time, in seconds, ascending. Empty: closed loop.
  std::vector<double> arrivals;
  // Closed loop: streams kept running. Open loop: at most as many run, the next ones wait in the
  // client; 0 is no limit.
  int concurrency = 0;
  uint64_t num_requests = 0;  // closed loop: in all; 0: until `duration_s`
  double duration_s = 0;      // closed loop: no request starts later; 0: until `num_requests`
  double offered_rate = 0;    // for the report; 0: closed loop
  uint64_t first_index = 0;   // of the workload's requests
};

struct RunOptions {
  ClientOptions client;
  Slo slo;
  bool progress = true;  // a line on stderr
  double grace_s = 10;   // after the last request's deadline, before a stream counts as stuck
};

// Runs the plan to the end of its last stream and measures it. UNAVAILABLE if no server answers.
absl::StatusOr<RunResult> RunLoad(const Workload& workload, const LoadPlan& plan,
                                  const RunOptions& options);

}  // namespace spade::loadtest
