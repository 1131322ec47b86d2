#include "kernels/cpu/thread_pool.h"

#include <chrono>
#include <memory>
#include <set>

#include "gtest/gtest.h"

namespace spade {
namespace {

TEST(ThreadPoolTest, RunsEachTaskOnce) {
  ThreadPool pool(3, /*pin=*/true);
  std::vector<std::atomic<int>> runs(1000);
  pool.Run(1000, [&](int64_t i, int32_t) { runs[i].fetch_add(1); });
  for (const std::atomic<int>& count : runs) EXPECT_EQ(count.load(), 1);
}

TEST(ThreadPoolTest, ReturnsAfterTheLastTask) {
  ThreadPool pool(4, /*pin=*/false);
  for (int job = 0; job < 20'000; ++job) {
    int64_t sums[3] = {0, 0, 0};  // read without synchronisation of its own
    pool.Run(3, [&](int64_t i, int32_t) { sums[i] = job + i; });
    ASSERT_EQ(sums[0] + sums[1] + sums[2], 3 * job + 3);
  }
}

TEST(ThreadPoolTest, WorkerIndicesAreDistinctPerThread) {
  ThreadPool pool(3, /*pin=*/false);
  std::vector<std::atomic<std::thread::id>> owners(3);
  std::atomic<int> conflicts{0};
  // The others wait for the calling thread's first task, and cannot take all before it comes.
  pool.Run(3000, [&](int64_t, int32_t worker) {
    std::thread::id nobody;
    const std::thread::id me = std::this_thread::get_id();
    if (!owners[worker].compare_exchange_strong(nobody, me) && nobody != me) conflicts.fetch_add(1);
    while (owners[0].load() == std::thread::id()) std::this_thread::yield();
  });
  EXPECT_EQ(conflicts.load(), 0);
  EXPECT_EQ(owners[0].load(), std::this_thread::get_id());
}

TEST(ThreadPoolTest, WakesWorkersThatSleep) {
  ThreadPool pool(2, /*pin=*/false);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::atomic<bool> other_ran{false};
  // The calling thread's task ends only when the worker has run one.
  pool.Run(2, [&](int64_t, int32_t worker) {
    if (worker != 0) other_ran.store(true);
    while (!other_ran.load()) std::this_thread::yield();
  });
  EXPECT_TRUE(other_ran.load());
}

TEST(ThreadPoolTest, EachWorkerBeginsWithItsOwnPart) {
  ThreadPool pool(2, /*pin=*/false);
  std::atomic<int64_t> first[2] = {-1, -1};
  // Each waits in its first task for the other's.
  pool.Run(10, [&](int64_t i, int32_t worker) {
    int64_t none = -1;
    first[worker].compare_exchange_strong(none, i);
    while (first[0].load() == -1 || first[1].load() == -1) std::this_thread::yield();
  });
  EXPECT_EQ(first[0].load(), 0);
  EXPECT_EQ(first[1].load(), 5);
}

TEST(ThreadPoolTest, NoTasksIsNoWork) {
  ThreadPool pool(2, /*pin=*/false);
  pool.Run(0, [](int64_t, int32_t) { FAIL(); });
}

TEST(ThreadPoolTest, OneThreadRunsTasksInOrderOnTheCaller) {
  ThreadPool pool(1, /*pin=*/true);
  std::vector<int64_t> order;
  pool.Run(3, [&](int64_t i, int32_t worker) { order.push_back(worker == 0 ? i : -1); });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2}));
}

TEST(ThreadPoolTest, ZeroThreadsMeansOnePerAllowedCore) {
  ThreadPool pool(0, /*pin=*/true);
  EXPECT_GE(pool.num_threads(), 1);
  EXPECT_LE(pool.num_threads(), static_cast<int32_t>(std::thread::hardware_concurrency()));
}

TEST(ThreadPoolTest, IdleWorkersUseNoProcessorTime) {
  ThreadPool pool(2, /*pin=*/false);
  pool.Run(2, [](int64_t, int32_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.05);
}

}  // namespace
}  // namespace spade
