#include "tools/trace/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"

namespace spade {
namespace {

constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kLogInterval = std::chrono::seconds(5);
constexpr int kBarWidth = 30;

}  // namespace

Progress::Progress(std::string what, int64_t total, int64_t done_before)
    : what_(std::move(what)),
      total_(total),
      first_(done_before),
      done_(done_before),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      last_print_(start_) {}

Progress::~Progress() {
  Print();
  if (terminal_) std::fputc('\n', stderr);
}

void Progress::Advance(int64_t count) {
  done_ += count;
  const auto since = Clock::now() - last_print_;
  if (terminal_ ? since >= kTerminalInterval : since >= kLogInterval) Print();
}

void Progress::Print() {
  last_print_ = Clock::now();
  const double elapsed = std::chrono::duration<double>(last_print_ - start_).count();
  const double speed = elapsed > 0 ? double(done_ - first_) / elapsed : 0;
  const double share = total_ > 0 ? double(done_) / double(total_) : 1;
  const double left = speed > 0 ? double(total_ - done_) / speed : 0;
  const std::string counts =
      absl::StrFormat("%d/%d  %.1f/s  %.0f s left", done_, total_, speed, std::max(0.0, left));
  if (!terminal_) {
    absl::FPrintF(stderr, "%s: %s\n", what_, counts);
    return;
  }
  const int filled = static_cast<int>(share * kBarWidth);
  const std::string bar = std::string(static_cast<size_t>(filled), '#') +
                          std::string(static_cast<size_t>(kBarWidth - filled), '.');
  absl::FPrintF(stderr, "\r%s [%s] %s\x1b[K", what_, bar, counts);
}

}  // namespace spade
