#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/runtime/request_state.h"
#include "engine/schedule/queue_shares.h"
#include "engine/schedule/wait_forecast.h"

namespace spade {

// What callers ask of the loop, collected between two steps.
struct LoopCommands {
  std::vector<std::unique_ptr<RequestState>> submitted;
  std::vector<RequestId> cancelled;
  std::vector<QueueShares::Shed> shed;  // waiting requests that gave up their places
  bool abort = false;                   // end everything as UNAVAILABLE
  bool stop = false;                    // end the loop

  bool empty() const {
    return submitted.empty() && cancelled.empty() && shed.empty() && !abort && !stop;
  }
};

// Between the callers' threads and the loop: commands, admission control and the count of requests
// in the house. Thread-safe; the lock is never held while foreign code runs.
class RequestQueue {
 public:
  // Bounds on what waits, which tenants share by weight.
  RequestQueue(const QueueShares::Limits& limits, TenantWeights weights)
      : waiting_(limits, weights), forecast_(std::move(weights)) {}

  // Callers' side.
  // RESOURCE_EXHAUSTED where the request, whatever its prompt, finds no place, or would wait until
  // after `deadline`, going by what waits and how fast it was scheduled lately. For before work is
  // put into it: Submit does not ask for the time again.
  absl::Status Check(const RequestContext& request,
                     std::optional<Clock::time_point> deadline) const;
  // RESOURCE_EXHAUSTED, with when to try again, or UNAVAILABLE: `request` is gone and nothing will
  // follow.
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
  // A request waits no longer: it was `scheduled`, or is over.
  void LeaveWaiting(const RequestContext& request, bool scheduled);
  // A command to shed was followed.
  void OnShed(const QueueShares::Shed& shed);
  // How long it takes, as things went lately, until half of what waits is gone.
  std::chrono::milliseconds RetryAfter() const;
  // A request is over: its sink has been told. `aborted`: it was cut off.
  void Leave(bool aborted);

 private:
  // `now`: seconds of Clock.
  absl::Status FullLocked(QueueShares::Verdict verdict, double now) const;
  std::chrono::milliseconds RetryAfterLocked(double now) const;

  mutable std::mutex mutex_;
  std::condition_variable wake_;   // the loop
  std::condition_variable empty_;  // Drain
  LoopCommands commands_;
  bool accepting_ = true;
  QueueShares waiting_;
  WaitForecast forecast_;
  int32_t inside_ = 0;  // accepted and not over
  int aborted_ = 0;     // ever
};

}  // namespace spade
