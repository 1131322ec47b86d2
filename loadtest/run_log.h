#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loadtest/request.h"

namespace spade::loadtest {

// One finished stream. Times are in seconds since the run's start.
struct RequestRecord {
  Kind kind = Kind::kGenerate;
  Fault fault = Fault::kNone;
  InvalidRequest invalid = InvalidRequest::kGarbageBytes;
  int code = 0;    // gRPC status
  double due = 0;  // when the arrival process wanted it sent
  double sent = 0;
  double first = 0;            // first message with content; 0: none
  double last = 0;             // last message with content
  double end = 0;              // the status
  uint32_t prompt_tokens = 0;  // as the server counts them
  uint32_t cached_tokens = 0;
  uint32_t output_tokens = 0;  // Generate
  uint32_t exit_layer = 0;     // Decide
  float compute_saved = 0;     // Decide
  int8_t correct = -1;         // Decide: 1 right, 0 wrong, -1 unknown
  bool early = false;          // Decide: an early answer came
  bool corrected = false;      // Decide: which the final one changed
};

struct RunLog {
  std::vector<RequestRecord> requests;
  std::vector<float> itls;  // seconds; every gap between two messages with content of one stream
  uint64_t unexpected_codes = 0;
  uint64_t broken_streams = 0;        // ended OK, but with a wrong content
  std::vector<std::string> problems;  // the first few of both, in words

  void AddProblem(std::string problem);
  void Append(RunLog other);
};

}  // namespace spade::loadtest
