#include "engine/runtime/request_queue.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/reason.h"

namespace spade {
namespace {

// Too little was scheduled yet.
constexpr double kRetryUnknownSeconds = 1;

double Seconds(Clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

int64_t PromptTokens(const RequestContext& request) {
  return static_cast<int64_t>(request.prompt.size());
}

}  // namespace

absl::Status RequestQueue::Check(const RequestContext& request,
                                 std::optional<Clock::time_point> deadline) const {
  const double now = Seconds(Clock::now());
  std::lock_guard lock(mutex_);
  if (!accepting_) return absl::OkStatus();  // Submit says so
  if (waiting_.IsFullFor(request.tenant)) {
    return FullLocked(QueueShares::Verdict::kTooManyRequests, now);
  }
  if (!deadline) return absl::OkStatus();
  const std::optional<double> wait = forecast_.Wait(request.tenant, request.priority, now);
  if (!wait || now + *wait <= Seconds(*deadline)) return absl::OkStatus();
  return RetryLater(absl::StrFormat("the request would wait for about %.1f s, longer than it may: "
                                    "retry later, or raise max_queue_time",
                                    *wait),
                    Reason::kQueueForecast, RetryAfterLocked(now));
}

absl::Status RequestQueue::Submit(std::unique_ptr<RequestState> request) {
  const RequestContext& context = request->context();
  std::unique_lock lock(mutex_);
  if (!accepting_) {
    return WithReason(
        absl::UnavailableError("the server is shutting down: send the request to another one"),
        Reason::kDraining);
  }
  // Should memory run out, nothing must have been counted: so what can fail comes first.
  if (commands_.shed.size() == commands_.shed.capacity()) {
    commands_.shed.reserve(2 * commands_.shed.size() + 1);
  }
  commands_.submitted.push_back(std::move(request));
  absl::Cleanup undo = [&] {
    request = std::move(commands_.submitted.back());
    commands_.submitted.pop_back();
  };
  const double now = Seconds(Clock::now());
  forecast_.Add(context.tenant, context.priority, PromptTokens(context), now);
  absl::Cleanup forget = [&] {
    forecast_.Remove(context.tenant, context.priority, PromptTokens(context), /*scheduled=*/false,
                     now);
  };
  QueueShares::Answer answer = waiting_.Offer(context.tenant, PromptTokens(context));
  if (answer.verdict != QueueShares::Verdict::kAccepted) return FullLocked(answer.verdict, now);
  std::move(forget).Cancel();
  std::move(undo).Cancel();
  if (answer.shed) commands_.shed.push_back(*std::move(answer.shed));
  ++inside_;
  lock.unlock();
  wake_.notify_one();
  return absl::OkStatus();
}

absl::Status RequestQueue::FullLocked(QueueShares::Verdict verdict, double now) const {
  if (verdict == QueueShares::Verdict::kTooManyRequests) {
    return RetryLater(absl::StrCat(waiting_.requests(),
                                   " requests are waiting: retry later, or raise "
                                   "max_queued_requests"),
                      Reason::kQueueRequests, RetryAfterLocked(now));
  }
  return RetryLater(
      absl::StrCat(waiting_.tokens(),
                   " prompt tokens are waiting: retry later, or raise max_queued_tokens"),
      Reason::kQueueTokens, RetryAfterLocked(now));
}

std::chrono::milliseconds RequestQueue::RetryAfterLocked(double now) const {
  const double all = forecast_.DrainTime(now).value_or(2 * kRetryUnknownSeconds);
  constexpr double kLeast = 0.1;
  constexpr double kMost = 60;
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * std::clamp(all / 2, kLeast, kMost)));
}

std::chrono::milliseconds RequestQueue::RetryAfter() const {
  std::lock_guard lock(mutex_);
  return RetryAfterLocked(Seconds(Clock::now()));
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
  return {inside_ - waiting_.requests(), waiting_.requests()};
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

void RequestQueue::LeaveWaiting(const RequestContext& request, bool scheduled) {
  const double now = Seconds(Clock::now());
  std::lock_guard lock(mutex_);
  waiting_.Remove(request.tenant, PromptTokens(request));
  forecast_.Remove(request.tenant, request.priority, PromptTokens(request), scheduled, now);
}

void RequestQueue::OnShed(const QueueShares::Shed& shed) {
  std::lock_guard lock(mutex_);
  waiting_.OnShed(shed);
}

void RequestQueue::Leave(bool aborted) {
  std::lock_guard lock(mutex_);
  --inside_;
  if (aborted) ++aborted_;
  if (inside_ == 0) empty_.notify_all();
}

}  // namespace spade
