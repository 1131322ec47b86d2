#include "kernels/cpu/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "hwy/cache_control.h"

namespace spade {
namespace {

constexpr uint32_t kOpen = 1u << 31;
constexpr int kNoCore = -1;
constexpr auto kSpinTime = std::chrono::microseconds(50);
constexpr int kPausesPerClockRead = 64;

std::vector<int> AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
  }
  if (cores.empty()) cores.push_back(kNoCore);
  return cores;
}

// Best effort: an unpinned worker is slower, not wrong.
void PinToCore(int core) {
  if (core == kNoCore) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

// Waits a moment until `done`; true when it was seen. Yields between looks, so that spinning costs
// little when there are more threads than cores.
template <class Done>
bool SpinUntil(const Done& done) {
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (done()) return true;
      hwy::Pause();
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() - start < kSpinTime);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int32_t num_threads, bool pin) {
  const std::vector<int> cores = AllowedCores();
  const int32_t num_cores = static_cast<int32_t>(cores.size());
  const int32_t total = num_threads > 0 ? num_threads : num_cores;
  runs_ = std::vector<TaskRun>(total);
  threads_.reserve(total - 1);
  for (int32_t worker = 1; worker < total; ++worker) {
    const int core = pin ? cores[worker % num_cores] : kNoCore;
    threads_.emplace_back([this, worker, core] { WorkerLoop(worker, core); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_relaxed);
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Run(int64_t count, Task task) {
  if (count <= 1 || threads_.empty()) {
    for (int64_t i = 0; i < count; ++i) task(i, /*worker=*/0);
    return;
  }
  task_ = &task;
  const int32_t workers = num_threads();
  for (int32_t worker = 0; worker < workers; ++worker) {
    runs_[worker].next.store(count * worker / workers, std::memory_order_relaxed);
    runs_[worker].end = count * (worker + 1) / workers;
  }
  inside_.store(kOpen, std::memory_order_release);
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  RunTasks(/*worker=*/0);
  // All tasks are taken. Who has not joined by now stays out; who has, finishes its task.
  inside_.fetch_and(~kOpen, std::memory_order_acq_rel);
  const auto all_left = [this] { return inside_.load(std::memory_order_acquire) == 0; };
  while (!SpinUntil(all_left)) {
  }
}

void ThreadPool::WorkerLoop(int32_t worker, int32_t core) {
  PinToCore(core);
  uint32_t seen_job = 0;
  while (true) {
    seen_job = AwaitJob(seen_job);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if (!Join()) continue;
    RunTasks(worker);
    inside_.fetch_sub(1, std::memory_order_release);
  }
}

uint32_t ThreadPool::AwaitJob(uint32_t seen_job) {
  const auto is_new = [&] { return job_.load(std::memory_order_acquire) != seen_job; };
  if (!SpinUntil(is_new)) job_.wait(seen_job, std::memory_order_acquire);
  return job_.load(std::memory_order_acquire);
}

// Enters the job unless it is closed. While anyone is inside, task_ and the ends of runs_ do not
// change.
bool ThreadPool::Join() {
  uint32_t inside = inside_.load(std::memory_order_relaxed);
  while ((inside & kOpen) != 0) {
    if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void ThreadPool::RunTasks(int32_t worker) {
  const int32_t workers = num_threads();
  for (int32_t i = 0; i < workers; ++i) {
    TaskRun& run = runs_[(worker + i) % workers];
    while (true) {
      const int64_t task = run.next.fetch_add(1, std::memory_order_relaxed);
      if (task >= run.end) break;
      (*task_)(task, worker);
    }
  }
}

}  // namespace spade
