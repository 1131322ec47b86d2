#include "server/serving_state.h"

#include <utility>
#include <vector>

#include "engine/base/reason.h"
#include "kernels/check.h"

namespace spade {

void ServingState::SetModel(std::unique_ptr<const ServedModel> model) {
  std::lock_guard lock(mutex_);
  SPADE_CHECK(model_ == nullptr);
  model_ = std::move(model);
}

void ServingState::StartDraining() {
  std::vector<std::shared_ptr<ResumableStream>> streams;
  {
    std::lock_guard lock(mutex_);
    draining_ = true;
    for (const auto& [key, watching] : watching_) {
      if (auto stream = watching.lock()) streams.push_back(std::move(stream));
    }
  }
  for (const auto& stream : streams) stream->Resume();
}

void ServingState::WatchDraining(const std::shared_ptr<ResumableStream>& stream) {
  std::lock_guard lock(mutex_);
  watching_[stream.get()] = stream;
}

void ServingState::UnwatchDraining(const ResumableStream* stream) {
  std::lock_guard lock(mutex_);
  watching_.erase(stream);
}

void ServingState::SetStalled(bool stalled) {
  std::lock_guard lock(mutex_);
  stalled_ = stalled;
}

bool ServingState::stalled() const {
  std::lock_guard lock(mutex_);
  return stalled_;
}

bool ServingState::draining() const {
  std::lock_guard lock(mutex_);
  return draining_;
}

const ServedModel* ServingState::model() const {
  std::lock_guard lock(mutex_);
  return model_.get();
}

absl::StatusOr<const ServedModel*> ServingState::Accept() const {
  if (draining()) {
    return WithReason(absl::UnavailableError("this server is shutting down; try another one"),
                      Reason::kDraining);
  }
  return Loaded();
}

absl::Status ServingState::Health() const {
  if (stalled()) return absl::UnavailableError("the engine makes no progress");
  return Accept().status();
}

absl::StatusOr<const ServedModel*> ServingState::Loaded() const {
  const ServedModel* loaded = model();
  if (loaded == nullptr) {
    return WithReason(absl::UnavailableError("the model is still loading"), Reason::kLoading);
  }
  return loaded;
}

void ServingState::CallStarted() {
  std::lock_guard lock(mutex_);
  ++open_calls_;
}

void ServingState::CallEnded() {
  std::lock_guard lock(mutex_);
  if (--open_calls_ == 0) no_calls_.notify_all();
}

bool ServingState::WaitForCalls(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return no_calls_.wait_for(lock, timeout, [this] { return open_calls_ == 0; });
}

}  // namespace spade
