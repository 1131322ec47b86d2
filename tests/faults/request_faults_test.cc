// What goes wrong while requests run loses none of them.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/base/reason.h"
#include "tests/faults/faults.h"
#include "tests/runtime/engine_fixture.h"

namespace spade::testing {
namespace {

using std::chrono::milliseconds;

GenerateRequest Request(int32_t max_tokens, uint32_t seed = 1) {
  return MakeRequest(MakePrompt(12, seed), max_tokens);
}

TEST(RequestFaultsTest, MemoryThatRunsOutRefusesTheRequestAndLeavesNoTrace) {
  const TestEngine engine = MakeEngine(SmallOptions());
  int refused = 0;
  for (int nth = 0;; ++nth) {
    GenerateRequest request = Request(2);
    request.context.tenant = "a tenant whose name takes memory of its own";
    auto sink = std::make_shared<Collector>();
    absl::Status status;
    bool happened;
    {
      FailCall fail(Call::kNew, nth);
      status = engine->Generate(std::move(request), sink).status();
      happened = fail.happened();
    }
    if (status.ok()) {
      EXPECT_TRUE(sink->Wait().ok());
    } else {
      ++refused;
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << nth;
      EXPECT_EQ(ReasonOf(status), Reason::kMemory) << nth;
      EXPECT_EQ(sink->num_done(), 0);
    }
    if (!happened) break;
  }
  EXPECT_GT(refused, 5);
  EXPECT_EQ(engine->Drain(milliseconds(10'000)), 0);
  EXPECT_EQ(engine->Stats().waiting, 0);
  EXPECT_EQ(engine->Stats().running, 0);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST(RequestFaultsTest, AStepThatHangsIsSeenAndNothingIsLostWhenItGoesOn) {
  const TestEngine engine = MakeEngine(SmallOptions());
  EXPECT_LT(engine->Stats().seconds_since_step, 0.05) << "idle is no hang";
  std::shared_ptr<Collector> running = std::make_shared<Collector>();
  std::shared_ptr<Collector> waiting = std::make_shared<Collector>();
  {
    HangStep hang;
    ASSERT_TRUE(engine->Generate(Request(10), running).ok());
    hang.WaitUntilHung();
    ASSERT_TRUE(engine->Generate(Request(10, 2), waiting).ok());
    std::this_thread::sleep_for(milliseconds(60));
    const EngineStats stats = engine->Stats();
    EXPECT_FALSE(stats.idle);
    EXPECT_GE(stats.seconds_since_step, 0.05);
    EXPECT_TRUE(engine->facts().in_step.load());
  }
  EXPECT_TRUE(running->Wait().ok());
  EXPECT_TRUE(waiting->Wait().ok());
  EXPECT_EQ(running->sequences()[0].tokens.size(), 10u);
  EXPECT_EQ(engine->Drain(milliseconds(10'000)), 0);
  EXPECT_LT(engine->Stats().seconds_since_step, 0.05);
}

TEST(RequestFaultsTest, ACancelDuringAHangTakesEffectAfterIt) {
  const TestEngine engine = MakeEngine(SmallOptions());
  auto sink = std::make_shared<Collector>();
  {
    HangStep hang;
    const auto handle = engine->Generate(Request(200), sink);
    ASSERT_TRUE(handle.ok());
    hang.WaitUntilHung();
    engine->Cancel(*handle);
  }
  EXPECT_EQ(sink->Wait().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST(RequestFaultsTest, TheWallClockMayJump) {
  const TestEngine engine = MakeEngine(SmallOptions());
  for (const auto distance : {std::chrono::hours(-24), std::chrono::hours(24)}) {
    GenerateRequest request = Request(100);
    request.context.deadline = Clock::now() + std::chrono::minutes(1);
    request.context.max_queue_time = std::chrono::minutes(1);
    auto sink = std::make_shared<Collector>();
    ASSERT_TRUE(engine->Generate(std::move(request), sink).ok());
    sink->WaitForDeltas(1);
    const JumpClock jump(distance);
    EXPECT_TRUE(sink->Wait().ok());
    EXPECT_EQ(sink->sequences()[0].tokens.size(), 100u);
    EXPECT_GE(sink->sequences()[0].finish->timings.decode_s, 0);
    EXPECT_LT(sink->sequences()[0].finish->timings.decode_s, 60);
  }
}

}  // namespace
}  // namespace spade::testing
