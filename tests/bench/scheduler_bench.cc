#include <benchmark/benchmark.h>

#include <utility>
#include <vector>

#include "engine/schedule/scheduler.h"

namespace spade {
namespace {

constexpr int32_t kBlockSize = 16;

// `count` sequences in steady decode, each with a prompt of its own.
class DecodingScheduler {
 public:
  explicit DecodingScheduler(int32_t count)
      : pool_(count * 130), scheduler_(Options(count), &pool_, &hasher_) {
    for (int32_t i = 0; i < count; ++i) ids_.push_back(Add(i));
    while (scheduler_.num_waiting() > 0) Step();
  }

  Scheduler& scheduler() { return scheduler_; }
  void Step() { Finish(scheduler_.Plan()); }
  // A hundredth of the sequences, all over the ranks, is over; as many new ones come.
  void Replace() {
    const int32_t count = scheduler_.num_running();
    for (int32_t i = 0; i < count / 100; ++i) {
      oldest_ = (oldest_ + 7919) % ids_.size();
      scheduler_.Remove(ids_[oldest_]);
      ids_[oldest_] = Add(i);
    }
  }
  void Finish(const StepPlan& plan) {
    scheduler_.Commit(plan);
    for (const PlannedRows& rows : plan.rows) {
      if (rows.samples) scheduler_.Append(rows.sequence, 7);
    }
  }

 private:
  SequenceId Add(TokenId first) {
    SequenceSpec spec;
    spec.prompt = {first};
    spec.max_tokens = 2000;
    return scheduler_.Add(std::move(spec)).value();
  }
  static SchedulerOptions Options(int32_t count) {
    return {.max_rows = count + 512, .max_sequences = count, .block_size = kBlockSize};
  }

  const BlockHasher hasher_{1, 2};
  BlockPool pool_;
  Scheduler scheduler_;
  std::vector<SequenceId> ids_;
  size_t oldest_ = 0;
};

// The plan alone: what stands between two steps of the model.
void BM_Plan(benchmark::State& state) {
  DecodingScheduler decoding(static_cast<int32_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(decoding.scheduler().Plan().num_rows);
}
BENCHMARK(BM_Plan)->Arg(100)->Arg(1000)->Arg(10000)->Unit(benchmark::kMicrosecond);

// Plan, Commit and Append of a step, blocks allocated and published included.
void BM_Step(benchmark::State& state) {
  DecodingScheduler decoding(static_cast<int32_t>(state.range(0)));
  for (auto _ : state) decoding.Step();
}
BENCHMARK(BM_Step)->Arg(100)->Arg(1000)->Arg(10000)->Iterations(1500)->Unit(
    benchmark::kMicrosecond);

// The same while sequences end and others take their places.
void BM_StepWithTurnover(benchmark::State& state) {
  DecodingScheduler decoding(static_cast<int32_t>(state.range(0)));
  for (auto _ : state) {
    decoding.Step();
    decoding.Replace();
  }
}
BENCHMARK(BM_StepWithTurnover)
    ->Arg(100)
    ->Arg(1000)
    ->Arg(10000)
    ->Iterations(1500)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace spade
