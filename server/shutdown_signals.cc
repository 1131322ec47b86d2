#include "server/shutdown_signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "kernels/check.h"

namespace spade {

ShutdownSignals::ShutdownSignals() {
  signal(SIGPIPE, SIG_IGN);  // a scraper that hangs up must not end the process
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  SPADE_CHECK(pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  SPADE_CHECK(signal_fd_ >= 0 && stop_fd_ >= 0);
  thread_ = std::thread([this] { Run(); });
}

ShutdownSignals::~ShutdownSignals() {
  const uint64_t one = 1;
  SPADE_CHECK(write(stop_fd_, &one, sizeof(one)) == sizeof(one));
  thread_.join();
  close(signal_fd_);
  close(stop_fd_);
}

ShutdownSignals::Event ShutdownSignals::WaitForLoading() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return signalled_ || loaded_; });
  return signalled_ ? Event::kSignal : Event::kLoaded;
}

void ShutdownSignals::LoadingDone() {
  std::lock_guard lock(mutex_);
  loaded_ = true;
  wake_.notify_all();
}

void ShutdownSignals::Wait() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return signalled_; });
}

void ShutdownSignals::Run() {
  while (true) {
    pollfd events[] = {{signal_fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
    if (poll(events, 2, -1) < 0) continue;  // EINTR
    if (events[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd_, &info, sizeof(info)) != sizeof(info)) continue;
    std::lock_guard lock(mutex_);
    if (signalled_) _exit(128 + static_cast<int>(info.ssi_signo));
    signalled_ = true;
    wake_.notify_all();
  }
}

}  // namespace spade
