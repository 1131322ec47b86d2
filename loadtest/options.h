#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loadtest/client.h"
#include "loadtest/metrics.h"
#include "loadtest/workload.h"

namespace spade::loadtest {

struct TraceOptions {
  std::string path;
  double scale = 0;  // of the lengths; 0: the largest with which every row fits the context
  double speed = 1;
};

struct SweepOptions {
  double start_rate = 0;  // 0: no sweep
  double factor = 1.5;
  int max_steps = 16;
};

// The command line, checked as far as that needs no server.
struct Options {
  ClientOptions client;
  std::string model;  // checked against the server's, if not empty

  double rate = 0;  // open loop
  double burstiness = 1;
  int concurrency = 0;
  uint64_t num_requests = 0;
  double duration_s = 0;
  uint64_t num_warmups = 0;
  SweepOptions sweep;
  TraceOptions trace;

  std::string prompts_path;
  WorkloadOptions workload;  // without the trace and the prompts, which are files

  Slo slo;
  bool quiet = false;
  std::string json_path;
  std::string html_path;
  std::vector<std::string> compare;  // two reports; nothing is sent

  std::string command;  // for the report
};

// Options, or what to print and the code to exit with instead (--help, errors).
struct ParsedOptions {
  std::optional<Options> options;
  int exit_code = 0;
  std::string output;
};

ParsedOptions ParseOptions(int argc, const char* const* argv);

}  // namespace spade::loadtest
