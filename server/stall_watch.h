#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "engine/runtime/request.h"
#include "server/repeater.h"
#include "server/write_executor.h"

namespace spade {

// Asks every stream, now and then, whether its client still reads: a stream whose engine is done
// hears of nothing else. Thread-safe.
class StallWatch {
 public:
  // A stream is asked several times within `max_stall`.
  explicit StallWatch(std::chrono::milliseconds max_stall);

  void Add(const std::shared_ptr<ResumableStream>& stream);

 private:
  void AskAll();

  std::mutex mutex_;
  std::vector<std::weak_ptr<ResumableStream>> streams_;  // those that ended leave at the next look
  Repeater repeater_;                                    // last: it uses all of the above
};

// What a stream ends with whose client does not read.
absl::Status StalledStatus();

// Whether a client that has not read for so long never will, however little waits for it.
inline bool IsHopeless(Clock::duration waits, std::chrono::milliseconds max_stall) {
  constexpr int kStalls = 6;
  return waits > kStalls * max_stall;
}

}  // namespace spade
