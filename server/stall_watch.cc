#include "server/stall_watch.h"

#include <algorithm>

#include "absl/status/status.h"
#include "engine/base/reason.h"

namespace spade {

StallWatch::StallWatch(std::chrono::milliseconds max_stall)
    : repeater_(
          std::clamp(max_stall / 4, std::chrono::milliseconds(10), std::chrono::milliseconds(1000)),
          [this] { AskAll(); }) {}

void StallWatch::Add(const std::shared_ptr<ResumableStream>& stream) {
  std::lock_guard lock(mutex_);
  streams_.push_back(stream);
}

void StallWatch::AskAll() {
  std::vector<std::shared_ptr<ResumableStream>> alive;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(streams_, [&](const std::weak_ptr<ResumableStream>& stream) {
      alive.push_back(stream.lock());
      if (alive.back() != nullptr) return false;
      alive.pop_back();
      return true;
    });
  }
  for (const auto& stream : alive) stream->CheckStall();
}

absl::Status StalledStatus() {
  return WithReason(absl::CancelledError("the client left its stream unread for too long"),
                    Reason::kStalledClient);
}

}  // namespace spade
