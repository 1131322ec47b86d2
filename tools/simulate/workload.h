#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace spade::simulate {

struct Request {
  double arrival = 0;  // seconds
  int32_t prompt_len = 0;
  int32_t output_len = 0;  // tokens; 0: a decision
};

struct WorkloadOptions {
  std::string trace;  // CSV, as loadtest/trace.h; empty: synthetic
  double speed = 1;   // of the trace: 2 has twice the rate
  int32_t limit = 0;  // requests of the trace; 0: all
  int32_t requests = 1000;
  double rate = 10;       // requests a second, on average
  double burstiness = 1;  // shape of the gamma distributed gaps; 1: Poisson
  std::string prompt_len = "64:192";
  std::string output_len = "32:96";
  double decide_share = 0;     // of the requests: decisions
  int32_t max_context = 4096;  // lengths are scaled down to fit, all by one factor
  uint64_t seed = 1;
};

// Ascending arrivals. Errors name the option or the trace's line.
absl::StatusOr<std::vector<Request>> MakeWorkload(const WorkloadOptions& options);

}  // namespace spade::simulate
