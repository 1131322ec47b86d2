#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "vector_types.h"

// Runs CUDA blocks on the calling thread. A block's threads are fibers, each of which runs until it
// ends or waits for others; who runs next is RunOrder's choice, so that a result that hangs on the
// order of threads between two barriers, a race, differs between orders.

namespace spade::cuda_emulation {

struct Grid {
  dim3 blocks;
  unsigned threads = 0;     // of a block; a multiple of 32
  size_t shared_bytes = 0;  // of dynamic shared memory, which starts as NaNs
};

enum class RunOrder { kForward, kReverse, kShuffled };

// For the launches to come. `seed` for kShuffled.
void SetRunOrder(RunOrder order, uint32_t seed = 1);

// Calls `kernel` once per thread. Aborts where a thread ends while others of its block or warp wait
// for it, as the GPU may hang there.
void RunGrid(const Grid& grid, const std::function<void()>& kernel);

// Launches since the start of the process.
int64_t NumLaunches();

// ---- For kernels

void SyncBlock();
// Gives `value` to the warp; returns what lane `from` gave. All lanes must take part.
uint32_t Exchange(unsigned mask, uint32_t value, int from);
// What each lane of a warp gives, and what all have given: to be read before the next exchange.
using Words = std::array<uint32_t, 6>;
const std::array<Words, 32>& GatherWarp(const Words& words);
void* SharedMemory();

}  // namespace spade::cuda_emulation
