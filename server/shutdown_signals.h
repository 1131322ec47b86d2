#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

namespace spade {

// SIGTERM and SIGINT as an event; the second one ends the process at once. Construct in main before
// any other thread starts: threads inherit the blocked signals. Nothing runs in a signal handler.
class ShutdownSignals {
 public:
  ShutdownSignals();
  ~ShutdownSignals();
  ShutdownSignals(const ShutdownSignals&) = delete;
  ShutdownSignals& operator=(const ShutdownSignals&) = delete;

  enum class Event { kSignal, kLoaded };
  // Returns at the first signal, or after LoadingDone.
  Event WaitForLoading();
  void LoadingDone();
  // Returns at the first signal.
  void Wait();

 private:
  void Run();

  int signal_fd_ = -1;
  int stop_fd_ = -1;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool signalled_ = false;
  bool loaded_ = false;
  std::thread thread_;
};

}  // namespace spade
