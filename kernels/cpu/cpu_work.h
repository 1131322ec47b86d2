// How the CPU backend shares work among threads.
#pragma once

#include <cstdint>

#include "kernels/cpu/matmul_kernels.h"

namespace spade {

// Multiply-adds (or work as long) below which waking other threads costs more than it saves.
inline constexpr int64_t kMinParallelWork = 100'000;
// More tasks than threads, so that a thread whose core is busy does not hold up the others.
inline constexpr int64_t kTasksPerThread = 8;

// Cost of an element, in multiply-adds.
inline constexpr int64_t kCopyCost = 1;
inline constexpr int64_t kNormCost = 1;
inline constexpr int64_t kPackCost = 4;

// The index-th of `tasks` even parts of [0, count).
inline Range Part(int64_t count, int64_t tasks, int64_t index) {
  return {count * index / tasks, count * (index + 1) / tasks};
}

}  // namespace spade
