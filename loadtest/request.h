#pragma once

#include <cstdint>

#include "loadtest/chaos.h"

namespace spade::loadtest {

enum class Kind : uint8_t { kGenerate, kDecide };

// As spade.v1.Mode, without its UNSPECIFIED.
enum class Mode : uint8_t { kExact = 1, kVerified = 2, kFast = 3 };

// Everything that a request is made of; made from the workload's seed and `index` alone.
struct RequestSpec {
  uint64_t index = 0;
  Kind kind = Kind::kGenerate;
  Fault fault = Fault::kNone;
  InvalidRequest invalid = InvalidRequest::kGarbageBytes;  // kInvalid
  Mode mode = Mode::kExact;
  uint32_t prompt_index = 0;  // Decide: of the prompt file
  uint32_t input_len = 0;     // token-id prompts
  uint32_t output_len = 0;    // Generate
  uint32_t num_copies = 1;    // kBurst
  float fault_seconds = 0;    // kCancel: when, negative: after the first answer; kDeadline: the
                              // deadline; kSlowReader: the pause before each read
};

}  // namespace spade::loadtest
