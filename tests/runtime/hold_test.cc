// Rows of FAST tokens that wait at exits for others to go deeper with.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/runtime/exit_fixture.h"

namespace spade::testing {
namespace {

// `batch` rows wait for each other, however long that takes and whatever it costs.
EngineOptions HoldingOptions(int32_t batch, int32_t kv_blocks = 256) {
  EngineOptions options = UncheckedOptions(kv_blocks);
  options.hold = {.longest_wait = 1000, .batch = batch};
  return options;
}

EngineOptions NotHoldingOptions() {
  EngineOptions options = UncheckedOptions();
  options.hold.longest_wait = 0;
  return options;
}

double NumHeld(const ForcedExitEngine& engine) {
  return MetricValue(engine.registry(), "spade_held_rows_total");
}

using Tokens = std::vector<std::vector<TokenId>>;

constexpr int kNoneExact = 1000;

// One after the other, where nobody waits.
Tokens Alone(int num_requests, int exact_every = kNoneExact) {
  static const ForcedExitEngine engine(NotHoldingOptions(), LeaveAtRandom);
  Tokens tokens = RunMixedAlone(*engine, num_requests, exact_every);
  EXPECT_EQ(NumHeld(engine), 0);
  return tokens;
}

TEST(HoldTest, WaitingChangesNoToken) {
  for (const int32_t batch : {6, 12, 64}) {
    const ForcedExitEngine engine(HoldingOptions(batch), LeaveAtRandom);
    EXPECT_EQ(RunMixed(*engine, 16, kNoneExact), Alone(16)) << batch;
    EXPECT_GT(NumHeld(engine), 0) << batch;
    EXPECT_EQ(engine.num_parked(), 0) << batch;
    EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0) << batch;
  }
}

// Those that always leave must go deeper now and then, and wait then as others do.
TEST(HoldTest, BoundedRunsWaitToo) {
  // All but one row of each, so that they are not in step.
  const auto always = [](const Sequence& sequence, int32_t position,
                         int32_t) -> std::optional<TokenId> {
    if (position == sequence.num_prompt() + sequence.num_prompt() % 5) return std::nullopt;
    return ArbitraryToken(position);
  };
  const ForcedExitEngine alone(NotHoldingOptions(), always);
  const ForcedExitEngine engine(HoldingOptions(64), always);
  EXPECT_EQ(RunMixed(*engine, 8, kNoneExact), RunMixedAlone(*alone, 8, kNoneExact));
  EXPECT_GT(NumHeld(engine), 0);
}

TEST(HoldTest, ARowAloneDoesNotWait) {
  const ForcedExitEngine engine(HoldingOptions(64), LeaveAtRandom);
  EXPECT_EQ(RunMixed(*engine, 1, kNoneExact), Alone(1));
  EXPECT_EQ(NumHeld(engine), 0);
}

TEST(HoldTest, NobodyWaitsForLongerThanHeMay) {
  EngineOptions options = HoldingOptions(64);
  options.hold.longest_wait = 1e-9;
  const ForcedExitEngine engine(options, LeaveAtRandom);
  EXPECT_EQ(RunMixed(*engine, 16, kNoneExact), Alone(16));
  EXPECT_EQ(engine.num_parked(), 0);
}

// EXACT rows go to full depth in every step, and take with them what waits.
TEST(HoldTest, MixedWithExactChangesNoToken) {
  const ForcedExitEngine engine(HoldingOptions(64), LeaveAtRandom);
  EXPECT_EQ(RunMixed(*engine, 16, /*exact_every=*/4), Alone(16, 4));
  EXPECT_EQ(engine.num_parked(), 0);
}

// Rows that waited, of requests of priority 0 beside a long one whose rows all go deeper.
double NumHeldBeside(int32_t priority) {
  constexpr int32_t kLong = 200;
  std::atomic<bool> all_are_there = false;
  const auto all_but_the_long = [&](const Sequence& sequence, int32_t position,
                                    int32_t layer) -> std::optional<TokenId> {
    if (sequence.spec.max_tokens != kLong) return LeaveAtRandom(sequence, position, layer);
    if (position > sequence.num_prompt()) all_are_there.wait(false);
    return std::nullopt;
  };
  const ForcedExitEngine engine(HoldingOptions(64), all_but_the_long);
  const auto start = [&](int32_t max_tokens, int32_t its_priority) {
    auto request = MakeEarlyRequest(MakePrompt(8, static_cast<uint32_t>(max_tokens)), max_tokens,
                                    ExitMode::kFast);
    request.context.priority = its_priority;
    auto sink = std::make_shared<Collector>();
    EXPECT_TRUE(engine->Generate(std::move(request), sink).ok());
    return sink;
  };
  const auto long_one = start(kLong, priority);
  long_one->WaitForDeltas(1);
  std::vector<std::shared_ptr<Collector>> others;
  for (int32_t i = 0; i < 8; ++i) others.push_back(start(20 + i, 0));
  all_are_there = true;
  all_are_there.notify_all();
  WaitForAll(others);
  const double held = NumHeld(engine);
  EXPECT_GE(engine->Stats().running, 1) << "the long one was to outlast the others";
  EXPECT_TRUE(long_one->Wait().ok());
  return held;
}

TEST(HoldTest, OfTheSamePriorityAllWait) { EXPECT_GT(NumHeldBeside(0), 0); }

// Its rows go deeper at once, in every step, and take along what would have waited.
TEST(HoldTest, WhoRanksAboveTheOthersDoesNotWaitForThem) { EXPECT_EQ(NumHeldBeside(-1), 0); }

TEST(HoldTest, PreemptionOfWhatWaitsChangesNoToken) {
  const ForcedExitEngine engine(HoldingOptions(4, /*kv_blocks=*/14), LeaveAtRandom);
  // How many run at once, and so whether one is preempted, is up to the threads' timing.
  for (int round = 0; round < 50 && NumPreemptions(engine) == 0; ++round) {
    EXPECT_EQ(RunMixed(*engine, 24, kNoneExact), Alone(24));
  }
  EXPECT_GT(NumPreemptions(engine), 0);
  EXPECT_GT(NumHeld(engine), 0);
  EXPECT_EQ(engine.num_parked(), 0);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST(HoldTest, WhatIsCancelledWhileItWaitsLeavesNothingBehind) {
  const ForcedExitEngine engine(HoldingOptions(64), LeaveAtRandom);
  for (int round = 0; round < 4; ++round) {
    std::vector<std::shared_ptr<Collector>> sinks;
    std::vector<Engine::RequestHandle> handles;
    for (int i = 0; i < 12; ++i) {
      sinks.push_back(std::make_shared<Collector>());
      const auto prompt = MakePrompt(8 + i, static_cast<uint32_t>(400 + i));
      const auto handle =
          engine->Generate(MakeEarlyRequest(prompt, 100, ExitMode::kFast), sinks.back());
      ASSERT_TRUE(handle.ok());
      handles.push_back(*handle);
    }
    for (size_t i = 0; i < handles.size(); ++i) {
      sinks[i]->WaitForDeltas(1 + static_cast<int>(i) * 2);
      engine->Cancel(handles[i]);
    }
    for (const auto& sink : sinks) {
      const absl::Status status = sink->Wait();
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
    }
    EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
  }
  EXPECT_GT(NumHeld(engine), 0);
  EXPECT_EQ(engine.num_parked(), 0);
}

}  // namespace
}  // namespace spade::testing
