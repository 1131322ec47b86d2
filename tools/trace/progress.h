#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace spade {

// How far a long job is, on standard error: a bar with the time left on a terminal, else a line
// every few seconds. Not thread-safe.
class Progress {
 public:
  Progress(std::string what, int64_t total, int64_t done_before = 0);
  // Ends the bar's line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Advance(int64_t count);

 private:
  void Print();

  using Clock = std::chrono::steady_clock;
  std::string what_;
  int64_t total_;
  int64_t first_;  // done before this run, which says nothing about its speed
  int64_t done_;
  bool terminal_;
  Clock::time_point start_;
  Clock::time_point last_print_;
};

}  // namespace spade
