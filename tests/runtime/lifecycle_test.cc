// How requests end early, and that nothing of them stays.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/runtime/engine_fixture.h"

namespace spade::testing {
namespace {

using std::chrono::milliseconds;

absl::StatusCode CodeOf(Collector& sink) { return sink.Wait().code(); }

// One sequence at a time, so that a second request waits.
EngineOptions OneAtATime() {
  EngineOptions options = SmallOptions();
  options.max_sequences = 1;
  return options;
}

GenerateRequest LongRequest(uint32_t seed = 1) { return MakeRequest(MakePrompt(12, seed), 240); }

struct Running {
  std::shared_ptr<Collector> sink = std::make_shared<Collector>();
  Engine::RequestHandle handle = 0;
};

Running Submit(Engine& engine, GenerateRequest request) {
  Running running;
  const auto handle = engine.Generate(std::move(request), running.sink);
  EXPECT_TRUE(handle.ok()) << handle.status();
  if (handle.ok()) running.handle = *handle;
  return running;
}

TEST(CancelTest, RightAfterSubmit) {
  const TestEngine engine = MakeEngine(SmallOptions());
  const Running request = Submit(*engine, LongRequest());
  engine->Cancel(request.handle);
  EXPECT_EQ(CodeOf(*request.sink), absl::StatusCode::kCancelled);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST(CancelTest, WhileWaiting) {
  const TestEngine engine = MakeEngine(OneAtATime());
  const Running first = Submit(*engine, LongRequest());
  const Running second = Submit(*engine, LongRequest());
  engine->Cancel(second.handle);
  EXPECT_EQ(CodeOf(*second.sink), absl::StatusCode::kCancelled);
  EXPECT_EQ(second.sink->num_deltas(), 0);
  EXPECT_TRUE(first.sink->Wait().ok());
}

TEST(CancelTest, WhileDecoding) {
  const TestEngine engine = MakeEngine(SmallOptions());
  GenerateRequest request = LongRequest();
  request.num_sequences = 3;
  auto sink = std::make_shared<Collector>(3);
  const auto handle = engine->Generate(request, sink);
  ASSERT_TRUE(handle.ok());
  sink->WaitForDeltas(10);
  engine->Cancel(*handle);
  EXPECT_EQ(CodeOf(*sink), absl::StatusCode::kCancelled);
  EXPECT_LT(sink->sequences()[0].tokens.size(), 240u);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST(CancelTest, AFinishedRequestIsLeftAlone) {
  const TestEngine engine = MakeEngine(SmallOptions());
  const Running request = Submit(*engine, MakeRequest(MakePrompt(5, 1), 2));
  EXPECT_TRUE(request.sink->Wait().ok());
  engine->Cancel(request.handle);
  engine->Cancel(12345);
  EXPECT_TRUE(Submit(*engine, MakeRequest(MakePrompt(5, 1), 2)).sink->Wait().ok());
  EXPECT_EQ(request.sink->num_done(), 1);
}

TEST(CancelTest, TheSinkIsReleased) {
  const TestEngine engine = MakeEngine(SmallOptions());
  Running request = Submit(*engine, LongRequest());
  engine->Cancel(request.handle);
  EXPECT_EQ(CodeOf(*request.sink), absl::StatusCode::kCancelled);
  engine->Drain(milliseconds(10000));
  EXPECT_EQ(request.sink.use_count(), 1);
}

TEST(DeadlineTest, PastIsRefused) {
  const TestEngine engine = MakeEngine(SmallOptions());
  GenerateRequest request = LongRequest();
  request.context.deadline = Clock::now() - milliseconds(1);
  EXPECT_EQ(engine->Generate(request, std::make_shared<Collector>()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(DeadlineTest, WhileWaitingNothingRuns) {
  const TestEngine engine = MakeEngine(OneAtATime());
  const Running first = Submit(*engine, LongRequest());
  GenerateRequest request = LongRequest();
  request.context.deadline = Clock::now() + milliseconds(5);
  const Running second = Submit(*engine, request);
  EXPECT_EQ(CodeOf(*second.sink), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(second.sink->num_deltas(), 0);
  engine->Cancel(first.handle);
}

TEST(DeadlineTest, WhileRunning) {
  const TestEngine engine = MakeEngine(SmallOptions());
  std::vector<Running> load;  // slows the steps
  for (uint32_t i = 0; i < 20; ++i) load.push_back(Submit(*engine, LongRequest(i)));
  GenerateRequest request = LongRequest();
  request.context.priority = -1;
  request.context.deadline = Clock::now() + milliseconds(60);
  const Running running = Submit(*engine, request);
  EXPECT_EQ(CodeOf(*running.sink), absl::StatusCode::kDeadlineExceeded);
  for (const Running& other : load) engine->Cancel(other.handle);
  EXPECT_EQ(engine->Drain(milliseconds(10000)), 0);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST(QueueTest, BoundsRequests) {
  EngineOptions options = OneAtATime();
  options.max_queued_requests = 2;
  const TestEngine engine = MakeEngine(options);
  const Running first = Submit(*engine, LongRequest());
  first.sink->WaitForDeltas(1);
  const Running second = Submit(*engine, LongRequest());
  const Running third = Submit(*engine, LongRequest());
  EXPECT_EQ(engine->Stats().running, 1);
  EXPECT_EQ(engine->Stats().waiting, 2);
  const auto refused = engine->Generate(LongRequest(), std::make_shared<Collector>());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(refused.status().message().find("max_queued_requests"), std::string::npos);
  engine->Cancel(second.handle);
  EXPECT_EQ(CodeOf(*second.sink), absl::StatusCode::kCancelled);
  EXPECT_EQ(engine->Drain(milliseconds(0)), 2);
}

TEST(QueueTest, BoundsTokens) {
  EngineOptions options = OneAtATime();
  options.max_queued_tokens = 20;
  const TestEngine engine = MakeEngine(options);
  const Running first = Submit(*engine, LongRequest());
  first.sink->WaitForDeltas(1);
  const Running second = Submit(*engine, LongRequest());  // 12 tokens
  EXPECT_EQ(engine->Generate(LongRequest(), std::make_shared<Collector>()).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(QueueTest, OnePromptMayExceedTheBound) {
  EngineOptions options = SmallOptions();
  options.max_queued_tokens = 5;
  const TestEngine engine = MakeEngine(options);
  EXPECT_EQ(RunToEnd(*engine, MakeRequest(MakePrompt(30, 1), 2))[0].tokens.size(), 2u);
}

TEST(QueueTest, PriorityComesFirst) {
  const TestEngine engine = MakeEngine(OneAtATime());
  const Running first = Submit(*engine, LongRequest());
  GenerateRequest urgent = MakeRequest(MakePrompt(12, 2), 2);
  urgent.context.priority = -1;
  const Running late = Submit(*engine, LongRequest());
  const Running early = Submit(*engine, urgent);
  EXPECT_TRUE(early.sink->Wait().ok());
  EXPECT_EQ(late.sink->num_done(), 0);
}

TEST(DrainTest, WaitsForWhatRuns) {
  const TestEngine engine = MakeEngine(SmallOptions());
  const Running request = Submit(*engine, MakeRequest(MakePrompt(10, 1), 20));
  EXPECT_EQ(engine->Drain(milliseconds(20000)), 0);
  EXPECT_EQ(request.sink->num_done(), 1);
  EXPECT_TRUE(request.sink->Wait().ok());
}

TEST(DrainTest, CutsOffAfterTheGrace) {
  const TestEngine engine = MakeEngine(OneAtATime());
  const Running first = Submit(*engine, LongRequest());
  const Running second = Submit(*engine, LongRequest());
  EXPECT_EQ(engine->Drain(milliseconds(1)), 2);
  EXPECT_EQ(CodeOf(*first.sink), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(*second.sink), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

TEST(DrainTest, RefusesNewRequests) {
  const TestEngine engine = MakeEngine(SmallOptions());
  engine->StopAccepting();
  EXPECT_EQ(engine->Generate(LongRequest(), std::make_shared<Collector>()).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(MetricValue(*engine.registry, "spade_requests_total", {{"code", "UNAVAILABLE"}}), 1);
}

TEST(ShutdownTest, EndsWhatIsLeft) {
  Running running;
  Running waiting;
  {
    const TestEngine engine = MakeEngine(OneAtATime());
    running = Submit(*engine, LongRequest());
    waiting = Submit(*engine, LongRequest());
    running.sink->WaitForDeltas(2);
  }
  EXPECT_EQ(running.sink->num_done(), 1);
  EXPECT_EQ(CodeOf(*running.sink), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(*waiting.sink), absl::StatusCode::kUnavailable);
}

TEST(StatsTest, IdleIsNoHang) {
  const TestEngine engine = MakeEngine(SmallOptions());
  RunToEnd(*engine, MakeRequest(MakePrompt(5, 1), 2));
  for (int i = 0; i < 1000 && !engine->Stats().idle; ++i)
    std::this_thread::sleep_for(milliseconds(1));
  const EngineStats stats = engine->Stats();
  EXPECT_TRUE(stats.idle);
  EXPECT_EQ(stats.seconds_since_step, 0);
  EXPECT_EQ(stats.kv_blocks, 256);
}

TEST(MetricsTest, CountTokensAndRequests) {
  const TestEngine engine = MakeEngine(SmallOptions());
  RunToEnd(*engine, MakeRequest(MakePrompt(9, 1), 4));
  engine->Drain(milliseconds(10000));
  const prometheus::Registry& registry = *engine.registry;
  EXPECT_EQ(MetricValue(registry, "spade_requests_total", {{"rpc", "Generate"}, {"code", "OK"}}),
            1);
  EXPECT_EQ(MetricValue(registry, "spade_prompt_tokens_total"), 9);
  EXPECT_EQ(MetricValue(registry, "spade_time_to_first_token_seconds"), 1);
  EXPECT_EQ(MetricValue(registry, "spade_inter_token_latency_seconds"), 3);
  EXPECT_EQ(MetricValue(registry, "spade_e2e_request_latency_seconds"), 1);
  EXPECT_EQ(MetricValue(registry, "spade_kv_blocks"), 256);
  EXPECT_EQ(MetricValue(registry, "spade_requests_total", {{"model_name", "other"}}), 0);
}

TEST(MetricsTest, EverySequenceFinishesForOneReason) {
  const TestEngine engine = MakeEngine(SmallOptions());
  GenerateRequest request = MakeRequest(MakePrompt(9, 1), 4);
  request.num_sequences = 3;
  RunToEnd(*engine, std::move(request));
  Running cancelled = Submit(*engine, LongRequest(2));
  engine->Cancel(cancelled.handle);
  EXPECT_EQ(CodeOf(*cancelled.sink), absl::StatusCode::kCancelled);
  engine->Drain(milliseconds(10000));
  const prometheus::Registry& registry = *engine.registry;
  const auto finished = [&](const std::string& reason) {
    return MetricValue(registry, "spade_sequences_finished_total", {{"finished_reason", reason}});
  };
  EXPECT_EQ(finished("length"), 3);
  EXPECT_EQ(finished("abort"), 1);
  EXPECT_EQ(finished("stop") + finished("error"), 0);
  EXPECT_EQ(MetricValue(registry, "spade_request_generation_tokens"), 3);
  EXPECT_EQ(MetricValue(registry, "spade_request_max_num_generation_tokens"), 1);
  EXPECT_EQ(MetricValue(registry, "spade_request_time_per_output_token_seconds"), 3);
  EXPECT_EQ(MetricValue(registry, "spade_request_decode_time_seconds"), 3);
}

// Several threads submit; requests are cancelled, expire, are preempted or finish.
TEST(StressTest, EveryRequestEndsOnceAndNothingLeaks) {
  const TestEngine engine = MakeEngine(SmallOptions(/*kv_blocks=*/24));
  std::vector<std::vector<Running>> running(4);
  std::vector<std::vector<std::shared_ptr<DecisionCollector>>> decisions(4);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 20; ++i) {
        GenerateRequest request = MakeRequest(MakePrompt(2 + random() % 90, random() % 8), 1);
        request.max_tokens = 1 + static_cast<int32_t>(random() % 20);
        request.num_sequences = 1 + static_cast<int32_t>(random() % 3);
        request.context.priority = static_cast<int32_t>(random() % 2);
        if (random() % 4 == 0)
          request.context.deadline = Clock::now() + milliseconds(random() % 50);
        Running one;
        one.sink = std::make_shared<Collector>(request.num_sequences);
        const auto handle = engine->Generate(request, one.sink);
        if (!handle.ok()) continue;
        if (random() % 3 == 0) engine->Cancel(*handle);
        running[t].push_back(one);
        DecideRequest decide;
        decide.context.prompt = MakePrompt(2 + random() % 120, random() % 8);
        decide.labels = {5, 6, 7};
        decisions[t].push_back(std::make_shared<DecisionCollector>());
        const auto decided = engine->Decide(decide, decisions[t].back());
        ASSERT_TRUE(decided.ok());
        if (random() % 3 == 0) engine->Cancel(*decided);
        (void)engine->Stats();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(engine->Drain(std::chrono::minutes(4)), 0);
  for (const auto& sinks : running) {
    for (const Running& one : sinks) EXPECT_EQ(one.sink->num_done(), 1);
  }
  for (const auto& sinks : decisions) {
    for (const auto& sink : sinks) {
      const absl::Status status = sink->Wait();
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
      EXPECT_EQ(sink->answers().size(), status.ok() ? 1u : 0u);
    }
  }
  const EngineStats stats = engine->Stats();
  EXPECT_EQ(stats.kv_blocks_in_use, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 0);
}

}  // namespace
}  // namespace spade::testing
