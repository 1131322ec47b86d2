#include "tests/bench/trace_run.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "tests/bench/forced_engine.h"

namespace spade::bench {
namespace {

using Clock = std::chrono::steady_clock;

class TimingSink final : public GenerateSink {
 public:
  TimingSink(Clock::time_point begin, size_t tokens) : begin_(begin) { times_.reserve(tokens); }

  void OnDelta(GenerateDelta delta) override {
    const double now = std::chrono::duration<double>(Clock::now() - begin_).count();
    times_.insert(times_.end(), delta.tokens.size(), now);
  }
  void OnDone(const absl::Status& status) override { done_.set_value(status); }

  absl::Status Wait() { return done_.get_future().get(); }
  const std::vector<double>& times() const { return times_; }

 private:
  const Clock::time_point begin_;
  std::vector<double> times_;
  std::promise<absl::Status> done_;
};

GenerateRequest MakeRequest(const simulate::Request& timed, int32_t index, ExitMode mode) {
  std::vector<TokenId> prompt = {0};
  for (int32_t k = 1; k < timed.prompt_len; ++k) prompt.push_back(2 + (index * 131 + k * 7) % 200);
  return ForcedGeneration(std::move(prompt), timed.output_len, mode);
}

void AddTimes(const simulate::Request& timed, const std::vector<double>& times,
              simulate::RunRecord* record) {
  simulate::RequestRecord& request = record->requests.emplace_back();
  request.arrival = timed.arrival;
  request.tokens = static_cast<int32_t>(times.size());
  if (times.empty()) return;
  request.first = times.front();
  request.last = times.back();
  record->end = std::max(record->end, times.back());
  for (size_t i = 1; i < times.size(); ++i) record->gaps.push_back(times[i] - times[i - 1]);
}

}  // namespace

absl::StatusOr<simulate::RunRecord> RunTrace(Engine& engine,
                                             std::span<const simulate::Request> requests,
                                             ExitMode mode) {
  std::vector<GenerateRequest> made;
  for (size_t i = 0; i < requests.size(); ++i) {
    made.push_back(MakeRequest(requests[i], static_cast<int32_t>(i), mode));
  }
  std::vector<std::shared_ptr<TimingSink>> sinks;
  const Clock::time_point begin = Clock::now();
  for (size_t i = 0; i < requests.size(); ++i) {
    std::this_thread::sleep_until(begin + std::chrono::duration_cast<Clock::duration>(
                                              std::chrono::duration<double>(requests[i].arrival)));
    sinks.push_back(
        std::make_shared<TimingSink>(begin, static_cast<size_t>(requests[i].output_len)));
    SPADE_RETURN_IF_ERROR(engine.Generate(std::move(made[i]), sinks.back()).status());
  }
  simulate::RunRecord record;
  for (size_t i = 0; i < requests.size(); ++i) {
    SPADE_RETURN_IF_ERROR(sinks[i]->Wait());
    AddTimes(requests[i], sinks[i]->times(), &record);
  }
  return record;
}

}  // namespace spade::bench
