#include "loadtest/run.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"
#include "loadtest/progress.h"

namespace spade::loadtest {
namespace {

constexpr auto kConnectTimeout = std::chrono::seconds(10);
constexpr double kDeadlineMargin = 1.2;
constexpr double kMinTurn = 0.0005;  // seconds
constexpr double kNever = std::numeric_limits<double>::infinity();

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return t.tv_sec + t.tv_usec * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::string Title(const LoadPlan& plan) {
  return plan.arrivals.empty() ? absl::StrFormat("%d streams", plan.concurrency)
                               : absl::StrFormat("%.4g req/s", plan.offered_rate);
}

// Decides when the next request starts: at its arrival time, or when another one ended.
class Driver final {
 public:
  Driver(const Workload& workload, const LoadPlan& plan, const ClientOptions& options)
      : workload_(workload),
        plan_(plan),
        closed_loop_(plan.arrivals.empty()),
        num_workers_(options.num_threads),
        client_(options, workload,
                {[this](int worker) { return OnTurn(worker); },
                 [this](int worker) { OnEnd(worker); }}) {}

  Client& client() { return client_; }

  // Returns when the last request was sent.
  void SendAll() {
    for (int i = 0; i < num_workers_; ++i) client_.Wake(i);
    std::unique_lock lock(mutex_);
    all_sent_.wait(lock, [this] { return exhausted_ && num_starting_ == 0; });
  }

 private:
  struct Due {
    RequestSpec spec;
    double at = 0;
  };

  std::optional<Due> TakeDue() {
    const double now = client_.Now();
    std::lock_guard lock(mutex_);
    if (exhausted_ || (plan_.concurrency > 0 && num_live_ >= plan_.concurrency)) return {};
    if (closed_loop_ && plan_.duration_s > 0 && now >= plan_.duration_s) {
      exhausted_ = true;
      all_sent_.notify_one();
      return {};
    }
    const double at = closed_loop_ ? now : plan_.arrivals[next_];
    if (at > now) return {};
    const Due due{workload_.MakeSpec(plan_.first_index + next_), at};
    ++next_;
    exhausted_ = closed_loop_ ? next_ == plan_.num_requests : next_ == plan_.arrivals.size();
    ++num_starting_;
    num_live_ += due.spec.num_copies;
    return due;
  }

  bool StartOne(int worker) {
    const std::optional<Due> due = TakeDue();
    if (!due) return false;
    for (uint32_t i = 0; i < due->spec.num_copies; ++i) client_.Start(worker, due->spec, due->at);
    std::lock_guard lock(mutex_);
    --num_starting_;
    if (exhausted_) all_sent_.notify_one();
    return true;
  }

  // A closed loop feeds itself once it runs. An open one sends all that is due; waking up for each
  // of thousands of requests per second would cost more than sending them.
  double OnTurn(int worker) {
    const int share =
        plan_.concurrency / num_workers_ + (worker < plan_.concurrency % num_workers_ ? 1 : 0);
    const int limit = closed_loop_ ? share : std::numeric_limits<int>::max();
    for (int i = 0; i < limit && StartOne(worker);) ++i;
    return closed_loop_ ? kNever : NextTurn(worker);
  }

  // Each thread comes for every so-manieth request, and takes along what else is due.
  double NextTurn(int worker) {
    const double soonest = client_.Now() + kMinTurn;
    std::lock_guard lock(mutex_);
    const uint64_t own = next_ + (worker + num_workers_ - next_ % num_workers_) % num_workers_;
    if (exhausted_ || own >= plan_.arrivals.size()) return kNever;
    return std::max(plan_.arrivals[own], soonest);
  }

  // After a burst the loop shrinks to its size before it goes on.
  void OnEnd(int worker) {
    {
      std::lock_guard lock(mutex_);
      --num_live_;
    }
    if (plan_.concurrency > 0) StartOne(worker);
  }

  const Workload& workload_;
  const LoadPlan& plan_;
  const bool closed_loop_;
  const int num_workers_;
  std::mutex mutex_;
  std::condition_variable all_sent_;
  uint64_t next_ = 0;       // guarded by mutex_
  int64_t num_live_ = 0;    // guarded by mutex_
  int num_starting_ = 0;    // guarded by mutex_
  bool exhausted_ = false;  // guarded by mutex_
  Client client_;           // last: its threads use the rest
};

}  // namespace

absl::StatusOr<RunResult> RunLoad(const Workload& workload, const LoadPlan& plan,
                                  const RunOptions& options) {
  Driver driver(workload, plan, options.client);
  Client& client = driver.client();
  if (absl::Status status = client.Connect(kConnectTimeout); !status.ok()) return status;
  const double cpu_before = CpuSeconds();
  uint64_t num_stuck = 0;
  {
    std::unique_ptr<Progress> progress;
    if (options.progress) progress = std::make_unique<Progress>(client, Title(plan));
    driver.SendAll();
    const double timeout_s = options.client.timeout_s;
    const double patience = timeout_s > 0 ? timeout_s * kDeadlineMargin + options.grace_s
                                          : std::numeric_limits<double>::infinity();
    if (!client.WaitIdle(patience)) num_stuck = client.num_running();
  }
  const double cpu_s = CpuSeconds() - cpu_before;
  if (num_stuck > 0) {
    client.CancelAll();
    client.WaitIdle(std::numeric_limits<double>::infinity());
  }
  RunResult result = Measure(client.TakeLog(), options.slo);
  result.stuck_streams = num_stuck;
  result.offered_rate = plan.offered_rate;
  result.concurrency = plan.concurrency;
  result.client_cpu_s = cpu_s;
  return result;
}

}  // namespace spade::loadtest
