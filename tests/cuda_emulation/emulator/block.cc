#include "emulator/block.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_runtime.h"
#include "emulator/fiber.h"
#include "kernels/check.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace spade::cuda_emulation {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kEnded };

// The values that a warp's lanes give each other. Two sets, used in turn: a lane may give its next
// value before another has read this one.
struct Warp {
  std::array<std::array<Words, kWarp>, 2> values;
};

struct Thread {
  State state = State::kReady;
  bool started = false;
  int exchanges = 0;
};

// The one block that runs. Fibers live as long as the process: a block needs only new bodies.
class Block {
 public:
  void Run(const Grid& grid, const std::function<void()>& kernel, std::mt19937* random,
           RunOrder order);
  void Wait(State state);
  const std::array<Words, kWarp>& GatherWarp(const Words& words);
  void* shared() { return shared_.data(); }

 private:
  void Prepare(const Grid& grid);
  void RunThread(size_t index, const std::function<void()>& kernel);
  bool Release(size_t first, size_t count, State waiting);

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<size_t> order_;
  std::vector<std::byte> shared_;
};

void Block::Prepare(const Grid& grid) {
  SPADE_CHECK(grid.threads > 0 && grid.threads % kWarp == 0 && grid.threads <= 1024);
  while (fibers_.size() < grid.threads) fibers_.push_back(std::make_unique<Fiber>());
  threads_.assign(grid.threads, Thread{});
  warps_.resize(grid.threads / kWarp);
  order_.resize(grid.threads);
  std::iota(order_.begin(), order_.end(), size_t{0});
  shared_ = std::vector<std::byte>(grid.shared_bytes, std::byte{0xff});
}

void Block::Run(const Grid& grid, const std::function<void()>& kernel, std::mt19937* random,
                RunOrder order) {
  Prepare(grid);
  if (order == RunOrder::kReverse) std::ranges::reverse(order_);
  bool all_ended = false;
  while (!all_ended) {
    if (order == RunOrder::kShuffled) std::ranges::shuffle(order_, *random);
    for (const size_t index : order_) {
      if (threads_[index].state == State::kReady) RunThread(index, kernel);
    }
    bool progress = false;
    for (size_t warp = 0; warp < warps_.size(); ++warp) {
      progress |= Release(warp * kWarp, kWarp, State::kAtWarpBarrier);
    }
    progress |= Release(0, threads_.size(), State::kAtBlockBarrier);
    all_ended = std::ranges::all_of(
        threads_, [](const Thread& thread) { return thread.state == State::kEnded; });
    SPADE_CHECK(progress || all_ended);  // else some wait for threads that will not come
  }
}

void Block::RunThread(size_t index, const std::function<void()>& kernel) {
  Thread& thread = threads_[index];
  threadIdx = {static_cast<unsigned>(index), 0, 0};
  Fiber& fiber = *fibers_[index];
  const bool ended = thread.started ? fiber.Continue() : fiber.Start(kernel);
  thread.started = true;
  if (ended) thread.state = State::kEnded;
}

// Lets the threads go on if all of them wait there.
bool Block::Release(size_t first, size_t count, State waiting) {
  const auto begin = threads_.begin() + static_cast<std::ptrdiff_t>(first);
  const auto end = begin + static_cast<std::ptrdiff_t>(count);
  if (!std::all_of(begin, end, [&](const Thread& thread) { return thread.state == waiting; })) {
    return false;
  }
  for (auto thread = begin; thread != end; ++thread) thread->state = State::kReady;
  return true;
}

void Block::Wait(State state) {
  const uint3 self = threadIdx;
  threads_[self.x].state = state;
  fibers_[self.x]->Wait();
}

const std::array<Words, kWarp>& Block::GatherWarp(const Words& words) {
  const size_t self = threadIdx.x;
  auto& values = warps_[self / kWarp].values[static_cast<size_t>(threads_[self].exchanges++ % 2)];
  values[self % kWarp] = words;
  Wait(State::kAtWarpBarrier);
  return values;
}

struct Emulator {
  Block block;
  RunOrder order = RunOrder::kForward;
  std::mt19937 random;
  int64_t launches = 0;
};

Emulator& TheEmulator() {
  static auto* const emulator = new Emulator();  // fibers end with the process
  return *emulator;
}

}  // namespace

void SetRunOrder(RunOrder order, uint32_t seed) {
  TheEmulator().order = order;
  TheEmulator().random.seed(seed);
}

void RunGrid(const Grid& grid, const std::function<void()>& kernel) {
  Emulator& emulator = TheEmulator();
  ++emulator.launches;
  gridDim = grid.blocks;
  blockDim = dim3(grid.threads);
  for (unsigned z = 0; z < grid.blocks.z; ++z) {
    for (unsigned y = 0; y < grid.blocks.y; ++y) {
      for (unsigned x = 0; x < grid.blocks.x; ++x) {
        blockIdx = {x, y, z};
        emulator.block.Run(grid, kernel, &emulator.random, emulator.order);
      }
    }
  }
}

int64_t NumLaunches() { return TheEmulator().launches; }
void SyncBlock() { TheEmulator().block.Wait(State::kAtBlockBarrier); }
const std::array<Words, kWarp>& GatherWarp(const Words& words) {
  return TheEmulator().block.GatherWarp(words);
}
uint32_t Exchange(unsigned mask, uint32_t value, int from) {
  SPADE_CHECK(mask == kAllLanes && from >= 0 && from < kWarp);
  return GatherWarp({value})[static_cast<size_t>(from)][0];
}
void* SharedMemory() { return TheEmulator().block.shared(); }

}  // namespace spade::cuda_emulation
