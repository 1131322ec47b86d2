#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "engine/runtime/request_state.h"

namespace spade {

// What callers ask of the loop, collected between two steps.
struct LoopCommands {
  std::vector<std::unique_ptr<RequestState>> submitted;
  std::vector<RequestId> cancelled;
  bool abort = false;  // end everything as UNAVAILABLE
  bool stop = false;   // end the loop

  bool empty() const { return submitted.empty() && cancelled.empty() && !abort && !stop; }
};

// Between the callers' threads and the loop: commands, admission control and the count of requests
// in the house. Thread-safe; the lock is never held while foreign code runs.
class RequestQueue {
 public:
  // Bounds on what waits: requests, and their prompt tokens.
  RequestQueue(int32_t max_requests, int64_t max_tokens)
      : max_requests_(max_requests), max_tokens_(max_tokens) {}

  // Callers' side.
  // RESOURCE_EXHAUSTED or UNAVAILABLE: `request` is gone and nothing will follow.
  absl::Status Submit(std::unique_ptr<RequestState> request);
  void Cancel(RequestId id);
  void StopAccepting();
  // See Engine::Drain.
  int Drain(std::chrono::milliseconds grace);
  void Stop();

  struct Counts {
    int32_t running = 0;
    int32_t waiting = 0;
  };
  Counts counts() const;

  // The loop's side.
  // Swaps what has come into `commands`, which is empty.
  void Take(LoopCommands* commands);
  // Returns when there are commands, or at `deadline`.
  void Wait(std::optional<Clock::time_point> deadline);
  // A request waits no longer.
  void LeaveWaiting(int64_t prompt_tokens);
  // A request is over: its sink has been told. `aborted`: it was cut off.
  void Leave(bool aborted);

 private:
  const int32_t max_requests_;
  const int64_t max_tokens_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;   // the loop
  std::condition_variable empty_;  // Drain
  LoopCommands commands_;
  bool accepting_ = true;
  int32_t waiting_ = 0;
  int64_t waiting_tokens_ = 0;
  int32_t inside_ = 0;  // accepted and not over
  int aborted_ = 0;     // ever
};

}  // namespace spade
