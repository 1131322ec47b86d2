// Rows of FAST tokens that wait at exits for others to go deeper with.
#include <gtest/gtest.h>

#include <string>

#include "tests/runtime/exit_fixture.h"

namespace spade::testing {
namespace {

// `batch` rows wait for each other, however long that takes and whatever it costs.
EngineOptions HoldingOptions(int32_t batch, int32_t kv_blocks = 256) {
  EngineOptions options = SmallOptions(kv_blocks);
  options.hold = {.longest_wait = 1000, .batch = batch};
  return options;
}

EngineOptions NotHoldingOptions() {
  EngineOptions options = SmallOptions();
  options.hold.longest_wait = 0;
  return options;
}

double NumHeld(const ForcedExitEngine& engine) {
  return MetricValue(engine.registry(), "spade_held_rows_total");
}

GenerateRequest RequestNumber(int i, ExitMode mode = ExitMode::kFast) {
  const auto seed = static_cast<uint32_t>(400 + i);
  return MakeEarlyRequest(MakePrompt(8 + i, seed), 18 + i % 9, mode);
}

using Tokens = std::vector<std::vector<TokenId>>;

Tokens RunTogether(Engine& engine, int num_requests, int exact_every = 1000) {
  std::vector<std::shared_ptr<Collector>> sinks;
  for (int i = 0; i < num_requests; ++i) {
    sinks.push_back(std::make_shared<Collector>());
    const ExitMode mode = (i + 1) % exact_every == 0 ? ExitMode::kExact : ExitMode::kFast;
    EXPECT_TRUE(engine.Generate(RequestNumber(i, mode), sinks.back()).ok());
  }
  Tokens tokens;
  for (const auto& sink : sinks) {
    EXPECT_TRUE(sink->Wait().ok());
    tokens.push_back(sink->sequences()[0].tokens);
  }
  return tokens;
}

// One after the other, where nobody waits.
Tokens Alone(int num_requests, int exact_every = 1000) {
  static const ForcedExitEngine engine(NotHoldingOptions(), LeaveAtRandom);
  Tokens tokens;
  for (int i = 0; i < num_requests; ++i) {
    const ExitMode mode = (i + 1) % exact_every == 0 ? ExitMode::kExact : ExitMode::kFast;
    tokens.push_back(RunToEnd(*engine, RequestNumber(i, mode))[0].tokens);
  }
  EXPECT_EQ(NumHeld(engine), 0);
  return tokens;
}

TEST(HoldTest, WaitingChangesNoToken) {
  for (const int32_t batch : {2, 5, 64}) {
    const ForcedExitEngine engine(HoldingOptions(batch), LeaveAtRandom);
    EXPECT_EQ(RunTogether(*engine, 16), Alone(16)) << batch;
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
  const Tokens together = RunTogether(*engine, 8);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(together[static_cast<size_t>(i)], RunToEnd(*alone, RequestNumber(i))[0].tokens);
  }
  EXPECT_GT(NumHeld(engine), 0);
}

TEST(HoldTest, ARowAloneDoesNotWait) {
  const ForcedExitEngine engine(HoldingOptions(64), LeaveAtRandom);
  EXPECT_EQ(RunTogether(*engine, 1), Alone(1));
  EXPECT_EQ(NumHeld(engine), 0);
}

TEST(HoldTest, NobodyWaitsForLongerThanHeMay) {
  EngineOptions options = HoldingOptions(64);
  options.hold.longest_wait = 1e-9;
  const ForcedExitEngine engine(options, LeaveAtRandom);
  EXPECT_EQ(RunTogether(*engine, 16), Alone(16));
  EXPECT_EQ(engine.num_parked(), 0);
}

// EXACT rows go to full depth in every step, and take with them what waits.
TEST(HoldTest, MixedWithExactChangesNoToken) {
  const ForcedExitEngine engine(HoldingOptions(64), LeaveAtRandom);
  EXPECT_EQ(RunTogether(*engine, 16, /*exact_every=*/4), Alone(16, 4));
  EXPECT_EQ(engine.num_parked(), 0);
}

TEST(HoldTest, PreemptionOfWhatWaitsChangesNoToken) {
  const ForcedExitEngine engine(HoldingOptions(4, /*kv_blocks=*/14), LeaveAtRandom);
  // How many run at once, and so whether one is preempted, is up to the threads' timing.
  for (int round = 0; round < 50 && NumPreemptions(engine) == 0; ++round) {
    EXPECT_EQ(RunTogether(*engine, 16), Alone(16));
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
      GenerateRequest request = RequestNumber(i);
      request.max_tokens = 100;
      const auto handle = engine->Generate(request, sinks.back());
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
