#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/status_macros.h"

namespace spade {

// fit(i) -> absl::StatusOr<Fit> for each i in [0, count), several at a time; the first error there
// is. The result does not depend on the threads. `num_threads`: 0: one per core.
template <typename Fit, typename FitOne>
absl::StatusOr<std::vector<Fit>> FitLayers(int32_t count, int32_t num_threads, const FitOne& fit) {
  std::vector<absl::StatusOr<Fit>> fits(static_cast<size_t>(count));
  std::atomic<int32_t> next = 0;
  const auto work = [&] {
    for (int32_t i = next++; i < count; i = next++) fits[static_cast<size_t>(i)] = fit(i);
  };
  const auto cores = static_cast<int32_t>(std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (int32_t i = 1; i < (num_threads > 0 ? num_threads : cores); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  std::vector<Fit> all;
  for (absl::StatusOr<Fit>& each : fits) {
    SPADE_ASSIGN_OR_RETURN(Fit done, std::move(each));
    all.push_back(std::move(done));
  }
  return all;
}

}  // namespace spade
