// What goes wrong while requests run loses none of them.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
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

// Holds the loop at a delta until it is let go, and then has its nth allocation from there fail.
class FailingLoopSink final : public GenerateSink {
 public:
  void OnDelta(GenerateDelta) override {
    if (fail_.has_value()) happened_ |= fail_->happened();
    fail_.reset();
    std::unique_lock lock(mutex_);
    held_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return nth_.has_value() || let_go_; });
    held_ = false;
    if (nth_.has_value()) fail_.emplace(Call::kNew, *nth_);
    nth_.reset();
  }
  void OnDone(const absl::Status&) override { fail_.reset(); }

  void WaitUntilHeld() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return held_; });
  }
  void Fail(int nth) {
    std::lock_guard lock(mutex_);
    nth_ = nth;
    held_ = false;
    changed_.notify_all();
  }
  void LetGo() {
    std::lock_guard lock(mutex_);
    let_go_ = true;
    changed_.notify_all();
  }
  // Once it is held again.
  bool happened() const { return happened_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<int> nth_;
  bool held_ = false;
  bool let_go_ = false;
  std::optional<FailCall> fail_;  // of the loop's thread
  bool happened_ = false;
};

// The loop takes it in beside one that runs, and there is no place for it to run yet.
TEST(RequestFaultsTest, MemoryThatRunsOutInTheLoopRefusesTheRequestThatWasToBeTakenIn) {
  EngineOptions options = SmallOptions();
  options.max_sequences = 1;
  const TestEngine engine = MakeEngine(options);
  auto running = std::make_shared<FailingLoopSink>();
  ASSERT_TRUE(engine->Generate(Request(240), running).ok());
  std::vector<std::shared_ptr<Collector>> waiting;
  int refused = 0;
  for (int nth = 0; nth < 100; ++nth) {
    running->WaitUntilHeld();
    GenerateRequest request = Request(2, nth);
    request.num_sequences = 2;
    request.context.tenant = "a tenant with a long name, number " + std::to_string(nth);
    request.context.deadline = Clock::now() + std::chrono::minutes(5);
    auto sink = std::make_shared<Collector>(2);
    ASSERT_TRUE(engine->Generate(std::move(request), sink).ok());
    running->Fail(nth);
    running->WaitUntilHeld();
    if (sink->num_done() == 0) {
      waiting.push_back(std::move(sink));
      break;  // nothing failed, or not here
    }
    ++refused;
    EXPECT_EQ(ReasonOf(sink->Wait()), Reason::kMemory) << nth;
    EXPECT_TRUE(running->happened());
    EXPECT_EQ(engine->Stats().waiting, 0) << nth;
  }
  running->LetGo();
  EXPECT_GT(refused, 10);
  for (const auto& sink : waiting) EXPECT_TRUE(sink->Wait().ok());
  EXPECT_EQ(engine->Drain(milliseconds(20'000)), 0);
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
