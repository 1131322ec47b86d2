#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace spade {

// Runs the tasks of one job at a time on the calling thread (worker 0) and num_threads - 1 workers.
// Each has a run of neighbouring tasks, which it takes in order; who is done helps the others.
// Threading: Run is called by one thread at a time and never from a task. A worker that is late,
// because its core is busy, is not waited for: the others do its tasks. Between jobs workers spin
// for some tens of microseconds, then sleep. Run allocates nothing.
class ThreadPool {
 public:
  // num_threads 0: one per core that this process may use. `pin` keeps worker i >= 1 on the i-th
  // allowed core. The calling thread is never pinned: it is not ours, and threads it starts
  // would inherit its core.
  ThreadPool(int32_t num_threads, bool pin);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int32_t num_threads() const { return static_cast<int32_t>(threads_.size()) + 1; }

  // Calls task(i, worker) once for each i in [0, count), 0 <= worker < num_threads(), in any order;
  // returns when all are done.
  void Run(int64_t count, absl::FunctionRef<void(int64_t, int32_t)> task);

 private:
  using Task = absl::FunctionRef<void(int64_t, int32_t)>;

  void WorkerLoop(int32_t worker, int32_t core);
  uint32_t AwaitJob(uint32_t seen_job);
  bool Join();
  void RunTasks(int32_t worker);

  // The tasks of a worker, on a cache line of their own.
  struct alignas(64) TaskRun {
    std::atomic<int64_t> next{0};  // first that nobody has taken
    int64_t end = 0;
  };

  // A job is written to these only while no worker is inside one; see Join.
  const Task* task_ = nullptr;
  std::vector<TaskRun> runs_;  // by worker

  alignas(64) std::atomic<uint32_t> inside_{0};  // workers inside the job; kOpen: more may join
  alignas(64) std::atomic<uint32_t> job_{0};     // counts jobs; what idle workers sleep on
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace spade
