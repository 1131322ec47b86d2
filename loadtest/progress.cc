#include "loadtest/progress.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"

namespace spade::loadtest {

Progress::Progress(const Client& client, std::string title)
    : client_(client), title_(std::move(title)), terminal_(isatty(STDERR_FILENO) != 0) {
  thread_ = std::thread([this] { Loop(); });
}

Progress::~Progress() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Progress::Loop() {
  const auto interval = terminal_ ? std::chrono::milliseconds(500) : std::chrono::seconds(10);
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return done_; })) {
    const std::string line = MakeLine();
    std::fprintf(stderr, terminal_ ? "\r\x1b[K%s" : "%s\n", line.c_str());
  }
  if (terminal_) std::fprintf(stderr, "\r\x1b[K");
}

std::string Progress::MakeLine() {
  const LiveCounts& counts = client_.counts();
  const double now = client_.Now();
  const double elapsed = now - std::exchange(last_at_, now);
  const uint64_t ended = counts.ended;
  const uint64_t tokens = counts.output_tokens;
  const uint64_t answers = counts.first_answers;
  const uint64_t ttft_micros = counts.ttft_micros;
  const uint64_t new_answers = answers - std::exchange(last_answers_, answers);
  const uint64_t new_micros = ttft_micros - std::exchange(last_ttft_micros_, ttft_micros);
  const double mean_ttft_ms =
      new_answers > 0 ? static_cast<double>(new_micros) / 1e3 / static_cast<double>(new_answers)
                      : 0;
  return absl::StrFormat(
      "%s  %.0f s  done %d (%.1f/s)  running %d  failed %d  output %.0f tok/s  TTFT %.2f ms",
      title_, now, ended, static_cast<double>(ended - std::exchange(last_ended_, ended)) / elapsed,
      client_.num_running(), counts.failed.load(),
      static_cast<double>(tokens - std::exchange(last_tokens_, tokens)) / elapsed, mean_ttft_ms);
}

}  // namespace spade::loadtest
