#include "server/crash_report.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace spade::crash_report {
namespace {

constexpr int kSignals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

// What a handler can reach: set before it is installed, but for the facts.
struct Process {
  std::array<char, 64> version{};
  std::array<char, 128> model{};
  time_t started = 0;
  std::atomic<const StepFacts*> facts{nullptr};
};
Process process;
alignas(16) std::array<char, 64 * 1024> handler_stack;

// A line in the making, on the handler's stack. What does not fit is left out.
class Line {
 public:
  Line& Text(std::string_view text) {
    const size_t count = std::min(text.size(), buffer_.size() - 1 - size_);
    std::memcpy(buffer_.data() + size_, text.data(), count);
    size_ += count;
    return *this;
  }
  Line& Number(uint64_t value) {
    char digits[20];
    size_t first = sizeof(digits);
    do {
      digits[--first] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value > 0);
    return Text({digits + first, sizeof(digits) - first});
  }
  Line& Field(std::string_view name, int64_t value) {
    return Text(name).Number(static_cast<uint64_t>(std::max<int64_t>(value, 0)));
  }
  void Write() {
    buffer_[size_++] = '\n';
    const ssize_t written = write(STDERR_FILENO, buffer_.data(), size_);
    static_cast<void>(written);  // there is nobody left to tell
  }

 private:
  std::array<char, 512> buffer_;
  size_t size_ = 0;
};

void Describe(int signal) {
  const time_t now = time(nullptr);
  Line line;
  line.Text("spade-server died: ").Field("signal=", signal);
  line.Text(" version=").Text(process.version.data());
  line.Text(" model=").Text(process.model.data());
  line.Field(" uptime_s=", now - process.started);
  const StepFacts* facts = process.facts.load(std::memory_order_acquire);
  if (facts == nullptr) {
    line.Text(" engine=none").Write();
    return;
  }
  line.Field(" step=", static_cast<int64_t>(facts->step.load(std::memory_order_relaxed)));
  line.Field(" in_step=", facts->in_step.load(std::memory_order_relaxed) ? 1 : 0);
  line.Field(" rows=", facts->rows.load(std::memory_order_relaxed));
  line.Field(" sequences=", facts->sequences.load(std::memory_order_relaxed));
  line.Field(" running=", facts->running.load(std::memory_order_relaxed));
  line.Field(" waiting=", facts->waiting.load(std::memory_order_relaxed));
  line.Write();
}

// SA_RESETHAND has put the default action back: raised again, the signal ends the process.
void Handle(int signal) {
  Describe(signal);
  raise(signal);
}

template <size_t size>
void Copy(std::string_view text, std::array<char, size>& to) {
  const size_t count = std::min(text.size(), size - 1);
  std::memcpy(to.data(), text.data(), count);
  to[count] = '\0';
}

}  // namespace

void Install(std::string_view version, std::string_view model) {
  Copy(version, process.version);
  Copy(model, process.model);
  process.started = time(nullptr);
  stack_t stack{};
  stack.ss_sp = handler_stack.data();
  stack.ss_size = handler_stack.size();
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = Handle;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_ONSTACK);
  sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
}

void SetEngine(const StepFacts* facts) { process.facts.store(facts, std::memory_order_release); }

}  // namespace spade::crash_report
