#include "server/repeater.h"

#include <utility>

namespace spade {

Repeater::Repeater(std::chrono::milliseconds interval, std::function<void()> function)
    : thread_([this, interval, function = std::move(function)] {
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
          lock.unlock();
          function();
          lock.lock();
        }
      }) {}

Repeater::~Repeater() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

}  // namespace spade
