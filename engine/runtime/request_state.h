#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/runtime/decision.h"
#include "engine/runtime/generation.h"
#include "engine/schedule/sequence.h"

namespace spade {

using RequestId = uint64_t;

// An accepted request. Made on the caller's thread, then owned by the loop.
struct RequestState {
  RequestId id = 0;
  std::unique_ptr<Generation> generation;  // exactly one of the two is set
  std::unique_ptr<DecisionState> decision;
  bool scheduled = false;                           // left the waiting requests
  std::optional<Clock::time_point> queue_deadline;  // to be scheduled by
  bool is_shadow = false;                           // ours, not a caller's: see shadow_checks.h
  int32_t cached_tokens = 0;                        // of the prompt, when it was scheduled
  std::vector<SequenceId> sequences;                // known to the scheduler, by index; 0: finished
  int32_t num_unfinished = 0;

  ExitMode mode() const {
    return generation ? generation->request().mode : decision->request().mode;
  }
  const RequestContext& context() const {
    return generation ? generation->request().context : decision->request().context;
  }
};

}  // namespace spade
