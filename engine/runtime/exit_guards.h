#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "engine/exit/calibration.h"
#include "engine/exit/mismatch_monitor.h"

namespace spade {

// What shadow checks have found of every exit of every certificate, and how far it is open. The
// first times that the mismatch is found to be above what was certified, the exit's threshold is
// halved and the count begins anew; then the exit is closed. The chance of a false alarm is 5 % in
// all: half of it for the first, half of what is left for each further one. Owned by the loop.
class ExitGuards {
 public:
  enum class Action { kNone, kTightened, kClosed };
  struct State {
    // Bounds of the mismatch, by the checks since the last action.
    double lower = 0;
    double upper = 1;
    bool closed = false;
    Action action = Action::kNone;  // of this check
  };

  // The outcome of a check at an exit (index) of `certificate`, which outlives this.
  State Observe(const Certificate* certificate, size_t exit, bool mismatch);
  // By which the exit's threshold is multiplied: 1, less, or 0 where it is closed.
  float Openness(const Certificate* certificate, size_t exit) const;

 private:
  struct Watched {
    MismatchMonitor monitor;
    int32_t breaches = 0;
  };

  std::map<std::pair<const Certificate*, size_t>, Watched> exits_;
};

}  // namespace spade
