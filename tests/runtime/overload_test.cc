// More requests than there is room for, of several tenants.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/base/reason.h"
#include "tests/runtime/engine_fixture.h"

namespace spade::testing {
namespace {

using std::chrono::milliseconds;

EngineOptions OneAtATime(int32_t max_queued_requests = 1024) {
  EngineOptions options = SmallOptions();
  options.max_sequences = 1;
  options.max_queued_requests = max_queued_requests;
  return options;
}

GenerateRequest RequestOf(const std::string& tenant, int32_t max_tokens, uint32_t seed = 1) {
  GenerateRequest request = MakeRequest(MakePrompt(12, seed), max_tokens);
  request.context.tenant = tenant;
  request.context.id = tenant + "-" + std::to_string(seed);
  return request;
}

std::shared_ptr<Collector> Submit(Engine& engine, GenerateRequest request) {
  auto sink = std::make_shared<Collector>();
  const auto handle = engine.Generate(std::move(request), sink);
  EXPECT_TRUE(handle.ok()) << handle.status();
  return sink;
}

// Runs until it is cancelled, or the engine goes.
std::shared_ptr<Collector> Occupy(Engine& engine, const std::string& tenant = "greedy") {
  auto sink = Submit(engine, RequestOf(tenant, 240));
  sink->WaitForDeltas(1);
  return sink;
}

TEST(QueueTimeTest, ARequestWaitsNoLongerThanItMay) {
  const TestEngine engine = MakeEngine(OneAtATime());
  const auto first = Occupy(*engine);
  GenerateRequest request = RequestOf("a", 4);
  request.context.max_queue_time = milliseconds(5);
  const auto second = Submit(*engine, request);
  const absl::Status status = second->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(ReasonOf(status), Reason::kQueueTime);
  EXPECT_TRUE(RetryAfterOf(status).has_value());
  EXPECT_EQ(second->num_deltas(), 0);
  EXPECT_TRUE(first->Wait().ok());
}

TEST(QueueTimeTest, TheEnginesBoundHoldsForAll) {
  EngineOptions options = OneAtATime();
  options.max_queue_time = milliseconds(5);
  const TestEngine engine = MakeEngine(options);
  const auto first = Occupy(*engine);
  GenerateRequest request = RequestOf("a", 4);
  request.context.max_queue_time = std::chrono::hours(1);
  EXPECT_EQ(ReasonOf(Submit(*engine, request)->Wait()), Reason::kQueueTime);
}

TEST(QueueTimeTest, WhatIsScheduledInTimeIsLeftAlone) {
  EngineOptions options = SmallOptions();
  options.max_queue_time = std::chrono::seconds(2);
  const TestEngine engine = MakeEngine(options);
  EXPECT_EQ(RunToEnd(*engine, RequestOf("a", 100))[0].tokens.size(), 100u);
}

// Once it is known how fast things go, nobody waits for what will not come in time.
TEST(QueueTimeTest, WhatWouldWaitTooLongIsRefusedAtOnce) {
  const TestEngine engine = MakeEngine(OneAtATime());
  for (uint32_t i = 0; i < 60; ++i) Submit(*engine, RequestOf("greedy", 240, i));
  const auto ask = [&](const std::string& tenant, milliseconds bound) {
    GenerateRequest request = RequestOf(tenant, 4);
    request.context.max_queue_time = bound;
    return engine->Generate(request, std::make_shared<Collector>()).status();
  };
  absl::Status refusal;
  while (refusal.ok() && engine->Stats().waiting > 2) {
    std::this_thread::sleep_for(milliseconds(50));
    refusal = ask("greedy", milliseconds(1));
  }
  EXPECT_EQ(refusal.code(), absl::StatusCode::kResourceExhausted) << refusal;
  EXPECT_EQ(ReasonOf(refusal), Reason::kQueueForecast);
  EXPECT_TRUE(RetryAfterOf(refusal).has_value());
  EXPECT_TRUE(ask("greedy", std::chrono::hours(1)).ok());
  EXPECT_TRUE(ask("late", milliseconds(1)).ok()) << "it is next, whatever others wait for";
}

TEST(TenantQueueTest, AFullQueueMakesRoomForOneThatHoldsLess) {
  const TestEngine engine = MakeEngine(OneAtATime(/*max_queued_requests=*/2));
  const auto running = Occupy(*engine);
  const auto second = Submit(*engine, RequestOf("greedy", 4, 2));
  const auto third = Submit(*engine, RequestOf("greedy", 4, 3));
  const auto late = Submit(*engine, RequestOf("late", 4));
  const absl::Status status = third->Wait();
  EXPECT_EQ(ReasonOf(status), Reason::kDisplaced) << status;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(late->Wait().ok());
  EXPECT_TRUE(second->Wait().ok());
  EXPECT_EQ(engine->Drain(milliseconds(20'000)), 0);
  EXPECT_EQ(engine->Stats().waiting, 0);
}

TEST(TenantQueueTest, ALateTenantIsServedBeforeTheRestOfAGreedyQueue) {
  const TestEngine engine = MakeEngine(OneAtATime());
  const auto running = Occupy(*engine);
  std::vector<std::shared_ptr<Collector>> greedy;
  for (uint32_t i = 0; i < 30; ++i) greedy.push_back(Submit(*engine, RequestOf("greedy", 20, i)));
  const auto late = Submit(*engine, RequestOf("late", 4));
  EXPECT_TRUE(late->Wait().ok());
  EXPECT_EQ(greedy[2]->num_done(), 0);
  EXPECT_EQ(engine->Drain(milliseconds(60'000)), 0);
}

TEST(RefusalTest, SaysWhyAndWhenToTryAgain) {
  const TestEngine engine = MakeEngine(OneAtATime(/*max_queued_requests=*/1));
  const auto running = Occupy(*engine);
  Submit(*engine, RequestOf("greedy", 4, 2));
  const absl::Status status =
      engine->Generate(RequestOf("greedy", 4, 3), std::make_shared<Collector>()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), Reason::kQueueRequests);
  ASSERT_TRUE(RetryAfterOf(status).has_value());
  EXPECT_GE(*RetryAfterOf(status), milliseconds(100));
  EXPECT_LE(*RetryAfterOf(status), milliseconds(60'000));
}

TEST(RefusalTest, AFullQueueIsToldBeforeThePromptIsThere) {
  const TestEngine engine = MakeEngine(OneAtATime(/*max_queued_requests=*/2));
  const auto running = Occupy(*engine);
  GenerateRequest request = RequestOf("greedy", 4, 9);
  request.context.prompt.clear();
  for (uint32_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(engine->CheckQueue(request).ok());
    Submit(*engine, RequestOf("greedy", 4, i));
  }
  EXPECT_EQ(ReasonOf(engine->CheckQueue(request)), Reason::kQueueRequests);
  const std::vector<RequestRecord> records = engine->RecentRequests(10);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].id, "greedy-9");
  EXPECT_EQ(records[0].reason, Reason::kQueueRequests);
  request.context.tenant = "late";
  EXPECT_TRUE(engine->CheckQueue(request).ok()) << "another's request would make room";
}

TEST(RequestLogTest, TellsOfWhatEndedAndWhatWasRefused) {
  const TestEngine engine = MakeEngine(OneAtATime(/*max_queued_requests=*/1));
  EXPECT_TRUE(Submit(*engine, RequestOf("a", 4))->Wait().ok());
  const auto running = Occupy(*engine);
  Submit(*engine, RequestOf("greedy", 4, 2));
  EXPECT_FALSE(engine->Generate(RequestOf("greedy", 4, 3), std::make_shared<Collector>()).ok());
  const std::vector<RequestRecord> records = engine->RecentRequests(10);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].id, "greedy-3");
  EXPECT_EQ(records[0].reason, Reason::kQueueRequests);
  EXPECT_FALSE(records[0].scheduled_s.has_value());
  const RequestRecord& finished = records[1];
  EXPECT_EQ(finished.tenant, "a");
  EXPECT_EQ(finished.code, absl::StatusCode::kOk);
  EXPECT_EQ(finished.prompt_tokens, 12);
  EXPECT_EQ(finished.output_tokens, 4);
  ASSERT_TRUE(finished.scheduled_s && finished.first_answer_s);
  EXPECT_LE(0, *finished.scheduled_s);
  EXPECT_LE(*finished.scheduled_s, *finished.first_answer_s);
  EXPECT_LE(*finished.first_answer_s, finished.ended_s);
}

TEST(RequestLogTest, KeepsNoMoreThanItMay) {
  EngineOptions options = SmallOptions();
  options.max_recent_requests = 3;
  const TestEngine engine = MakeEngine(options);
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(Submit(*engine, RequestOf("a", 1, i))->Wait().ok());
  }
  const std::vector<RequestRecord> records = engine->RecentRequests(10);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].number, 5u);
  EXPECT_EQ(engine->RecentRequests(1).size(), 1u);
}

TEST(StepFactsTest, CountStepsAndShowTheLastOne) {
  const TestEngine engine = MakeEngine(SmallOptions());
  RunToEnd(*engine, RequestOf("a", 5));
  EXPECT_GE(engine->facts().step.load(), 5u);
  EXPECT_EQ(engine->facts().rows.load(), 1);
  EXPECT_EQ(engine->facts().sequences.load(), 1);
}

}  // namespace
}  // namespace spade::testing
