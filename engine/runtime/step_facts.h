#pragma once

#include <atomic>
#include <cstdint>

namespace spade {

// Where the loop is: for whoever reports a crash, or a hang. Written by the loop, read from any
// thread and from signal handlers: lock-free atomics only.
struct StepFacts {
  std::atomic<uint64_t> step{0};  // begun so far
  std::atomic<bool> in_step{false};
  std::atomic<int32_t> rows{0};       // of the last one
  std::atomic<int32_t> sequences{0};  // in it
  std::atomic<int32_t> running{0};    // requests
  std::atomic<int32_t> waiting{0};

  static_assert(std::atomic<uint64_t>::is_always_lock_free);
};

}  // namespace spade
