#include "engine/runtime/request_queue.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace spade {

absl::Status RequestQueue::Submit(std::unique_ptr<RequestState> request) {
  const auto tokens = static_cast<int64_t>(request->context().prompt.size());
  std::unique_lock lock(mutex_);
  if (!accepting_) {
    return absl::UnavailableError("the server is shutting down: send the request to another one");
  }
  if (waiting_ >= max_requests_) {
    return absl::ResourceExhaustedError(
        absl::StrCat(waiting_, " requests are waiting: retry later, or raise max_queued_requests"));
  }
  // One request alone may exceed the bound: else it could never run.
  if (waiting_ > 0 && waiting_tokens_ + tokens > max_tokens_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        waiting_tokens_, " prompt tokens are waiting: retry later, or raise max_queued_tokens"));
  }
  ++waiting_;
  ++inside_;
  waiting_tokens_ += tokens;
  commands_.submitted.push_back(std::move(request));
  lock.unlock();
  wake_.notify_one();
  return absl::OkStatus();
}

void RequestQueue::Cancel(RequestId id) {
  {
    std::lock_guard lock(mutex_);
    commands_.cancelled.push_back(id);
  }
  wake_.notify_one();
}

void RequestQueue::StopAccepting() {
  std::lock_guard lock(mutex_);
  accepting_ = false;
}

int RequestQueue::Drain(std::chrono::milliseconds grace) {
  std::unique_lock lock(mutex_);
  accepting_ = false;
  const auto is_empty = [this] { return inside_ == 0; };
  if (empty_.wait_for(lock, grace, is_empty)) return 0;
  const int aborted_before = aborted_;
  commands_.abort = true;
  wake_.notify_one();
  empty_.wait(lock, is_empty);
  return aborted_ - aborted_before;
}

void RequestQueue::Stop() {
  {
    std::lock_guard lock(mutex_);
    accepting_ = false;
    commands_.stop = true;
  }
  wake_.notify_one();
}

RequestQueue::Counts RequestQueue::counts() const {
  std::lock_guard lock(mutex_);
  return {inside_ - waiting_, waiting_};
}

void RequestQueue::Take(LoopCommands* commands) {
  std::lock_guard lock(mutex_);
  std::swap(*commands, commands_);
}

void RequestQueue::Wait(std::optional<Clock::time_point> deadline) {
  std::unique_lock lock(mutex_);
  const auto has_commands = [this] { return !commands_.empty(); };
  if (deadline) {
    wake_.wait_until(lock, *deadline, has_commands);
  } else {
    wake_.wait(lock, has_commands);
  }
}

void RequestQueue::LeaveWaiting(int64_t prompt_tokens) {
  std::lock_guard lock(mutex_);
  --waiting_;
  waiting_tokens_ -= prompt_tokens;
}

void RequestQueue::Leave(bool aborted) {
  std::lock_guard lock(mutex_);
  --inside_;
  if (aborted) ++aborted_;
  if (inside_ == 0) empty_.notify_all();
}

}  // namespace spade
