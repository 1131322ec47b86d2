#include "loadtest/metrics.h"

#include <gtest/gtest.h>

#include <vector>

namespace spade::loadtest {
namespace {

// Sent at 1 s, first token after 100 ms, last after 500 ms, five tokens.
RequestRecord Record() {
  RequestRecord record;
  record.due = 0.998;
  record.sent = 1;
  record.first = 1.1;
  record.last = 1.5;
  record.end = 1.6;
  record.prompt_tokens = 10;
  record.output_tokens = 5;
  return record;
}

RequestRecord Failed(int code) {
  RequestRecord record = Record();
  record.code = code;
  record.first = record.last = 0;
  record.output_tokens = 0;
  return record;
}

TEST(MetricsTest, TpotLeavesTheFirstTokenOut) { EXPECT_NEAR(TpotMs(Record()), 400.0 / 4, 1e-9); }

TEST(MetricsTest, TpotOfOneTokenIsZeroAndNotCounted) {
  RequestRecord one = Record();
  one.output_tokens = 1;
  EXPECT_EQ(TpotMs(one), 0);
  RunLog log;
  log.requests = {one, Record()};
  EXPECT_EQ(Measure(log, Slo()).all.tpot.count, 1u);
}

TEST(MetricsTest, LatenciesAreFromSendToContent) {
  RunLog log;
  log.requests = {Record()};
  const RunResult result = Measure(log, Slo());
  EXPECT_NEAR(result.all.ttft.mean, 100, 1e-9);
  EXPECT_NEAR(result.all.e2el.mean, 500, 1e-9);
  EXPECT_NEAR(result.send_lag_ms.mean, 2, 1e-9);
}

TEST(MetricsTest, ItlIsEveryGap) {
  RunLog log;
  log.requests = {Record()};
  log.itls = {0.1f, 0.2f, 0.3f};
  const RunResult result = Measure(log, Slo());
  EXPECT_EQ(result.all.itl.count, 3u);
  EXPECT_NEAR(result.all.itl.median(), 200, 1e-4);
}

TEST(MetricsTest, FailedRequestsCountByCodeOnly) {
  RunLog log;
  log.requests = {Record(), Failed(8), Failed(8), Failed(4)};
  const RunResult result = Measure(log, Slo());
  EXPECT_EQ(result.completed, 1u);
  EXPECT_EQ(result.failed, 3u);
  EXPECT_EQ(result.codes.at("RESOURCE_EXHAUSTED"), 2u);
  EXPECT_EQ(result.codes.at("DEADLINE_EXCEEDED"), 1u);
  EXPECT_EQ(result.all.ttft.count, 1u);
}

TEST(MetricsTest, ThroughputIsOverFirstSendToLastStatus) {
  RunLog log;
  log.requests = {Record(), Record()};
  log.requests[1].sent = 2;
  log.requests[1].first = log.requests[1].last = 2.5;
  log.requests[1].end = 3;
  const RunResult result = Measure(log, Slo());
  EXPECT_NEAR(result.duration_s, 2, 1e-9);
  EXPECT_NEAR(result.request_throughput(), 1, 1e-9);
  EXPECT_NEAR(result.output_throughput(), 5, 1e-9);
  EXPECT_NEAR(result.total_token_throughput(), 15, 1e-9);
}

TEST(MetricsTest, NoRequestsAreNoFigures) {
  const RunResult result = Measure(RunLog(), Slo());
  EXPECT_EQ(result.completed, 0u);
  EXPECT_EQ(result.request_throughput(), 0);
  EXPECT_TRUE(result.timeline.empty());
}

TEST(MetricsTest, DecisionsAreCountedApart) {
  RequestRecord right = Record();
  right.kind = Kind::kDecide;
  right.exit_layer = 4;
  right.compute_saved = 0.5;
  right.correct = 1;
  right.early = right.corrected = true;
  RequestRecord wrong = right;
  wrong.exit_layer = 12;
  wrong.correct = 0;
  wrong.corrected = false;
  RunLog log;
  log.requests = {Record(), right, wrong};
  const RunResult result = Measure(log, Slo());
  EXPECT_EQ(result.decisions.count, 2u);
  EXPECT_DOUBLE_EQ(result.decisions.accuracy, 0.5);
  EXPECT_DOUBLE_EQ(result.decisions.mean_exit_layer, 8);
  EXPECT_EQ(result.decisions.num_early, 2u);
  EXPECT_EQ(result.decisions.num_corrected, 1u);
  EXPECT_EQ(result.generate.ttft.count, 1u);
  EXPECT_EQ(result.decide.ttft.count, 2u);
}

TEST(MetricsTest, TimelineKeepsEveryRequestAndReturnsToNoneRunning) {
  RunLog log;
  for (int i = 0; i < 50; ++i) {
    RequestRecord record = Record();
    record.sent = i * 0.1;
    record.first = record.last = record.end = i * 0.1 + 1;
    log.requests.push_back(record);
  }
  const RunResult result = Measure(log, Slo());
  uint64_t completed = 0;
  uint64_t most_running = 0;
  for (const TimelinePoint& point : result.timeline) {
    completed += point.completed;
    most_running = std::max(most_running, point.running);
  }
  EXPECT_EQ(completed, 50u);
  EXPECT_NEAR(static_cast<double>(most_running), 10, 1);
  EXPECT_EQ(result.timeline.back().running, 0u);
}

TEST(SloTest, GoodMeetsEveryBoundInclusively) {
  const absl::StatusOr<Slo> slo = Slo::Parse({"ttft:100.001", "tpot:100.001", "e2el:500.001"});
  ASSERT_TRUE(slo.ok());
  EXPECT_TRUE(IsGood(Record(), *slo));
  EXPECT_FALSE(IsGood(Record(), *Slo::Parse({"ttft:99"})));
  EXPECT_FALSE(IsGood(Record(), *Slo::Parse({"tpot:99"})));
  EXPECT_FALSE(IsGood(Record(), *Slo::Parse({"ttft:1000", "e2el:499"})));
}

TEST(SloTest, FailedIsNeverGood) { EXPECT_FALSE(IsGood(Failed(8), Slo())); }

TEST(SloTest, GoodputIsGoodRequestsPerSecond) {
  RunLog log;
  log.requests = {Record(), Record(), Failed(8)};
  log.requests[1].first = 1.4;
  const RunResult result = Measure(log, *Slo::Parse({"ttft:200"}));
  EXPECT_EQ(result.good, 1u);
  EXPECT_NEAR(result.request_goodput(), 1 / result.duration_s, 1e-9);
}

TEST(SloTest, RefusesWhatItCannotMean) {
  for (const char* entry : {"ttft", "ttft:x", "ttft:-1", "itl:5", ":5", ""}) {
    EXPECT_EQ(Slo::Parse({entry}).status().code(), absl::StatusCode::kInvalidArgument) << entry;
  }
  EXPECT_FALSE(Slo::Parse({"ttft:1", "ttft:2"}).ok());
}

}  // namespace
}  // namespace spade::loadtest
