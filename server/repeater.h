#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace spade {

// Calls a function again and again on a thread of its own.
class Repeater {
 public:
  Repeater(std::chrono::milliseconds interval, std::function<void()> function);
  ~Repeater();  // waits for the running call
  Repeater(const Repeater&) = delete;
  Repeater& operator=(const Repeater&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace spade
