#include "loadtest/client.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "loadtest/arrivals.h"
#include "loadtest/run.h"
#include "tests/loadtest/fake_server.h"

namespace spade::loadtest {
namespace {

using std::chrono::milliseconds;

WorkloadOptions Options() {
  WorkloadOptions options;
  options.input_lens = *Lengths::Parse("8");
  options.output_lens = *Lengths::Parse("5");
  options.labels = {" yes", " no"};
  return options;
}

Workload MakeWorkload(WorkloadOptions options = Options()) {
  return *Workload::Make(std::move(options), {"tiny", 50, 256, true, 0, {1}});
}

RunOptions To(const FakeServer& server) {
  RunOptions options;
  options.client.target = server.target();
  options.progress = false;
  return options;
}

LoadPlan ClosedLoop(int concurrency, uint64_t num_requests) {
  LoadPlan plan;
  plan.concurrency = concurrency;
  plan.num_requests = num_requests;
  return plan;
}

TEST(RunTest, ClosedLoopSendsExactlyTheRequestsAskedFor) {
  FakeServer server({});
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), ClosedLoop(4, 100), To(server));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(server.num_requests(), 100);
  EXPECT_EQ(run->completed, 100u);
  EXPECT_EQ(run->output_tokens, 500u);
  EXPECT_EQ(run->input_tokens, 800u);
  EXPECT_EQ(run->all.itl.count, 400u);
  EXPECT_TRUE(run->clean());
}

TEST(RunTest, EveryStreamCarriesTheToken) {
  FakeServer server({.token = "secret"});
  RunOptions options = To(server);
  options.client.token = "secret";
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), ClosedLoop(2, 10), options);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->completed, 10u);
}

TEST(RunTest, ClosedLoopKeepsItsConcurrency) {
  FakeServer server({.token_delay = milliseconds(2)});
  ASSERT_TRUE(RunLoad(MakeWorkload(), ClosedLoop(6, 60), To(server)).ok());
  EXPECT_LE(server.most_running(), 7);  // a stream's status may overtake its end on the server
  EXPECT_GE(server.most_running(), 3);
}

TEST(RunTest, ClosedLoopStopsAtItsDuration) {
  FakeServer server({.token_delay = milliseconds(1)});
  LoadPlan plan;
  plan.concurrency = 2;
  plan.duration_s = 0.3;
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), plan, To(server));
  ASSERT_TRUE(run.ok());
  EXPECT_GT(run->completed, 2u);
  EXPECT_LT(run->duration_s, 2);
}

TEST(RunTest, OpenLoopSendsAtTheArrivalTimes) {
  FakeServer server({});
  LoadPlan plan;
  plan.arrivals = MakeArrivals(50, 100, 1, /*seed=*/1);
  plan.offered_rate = 100;
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), plan, To(server));
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->completed, 50u);
  EXPECT_GE(run->send_lag_ms.min, 0);
  // From the first, which may have been sent late, to the last.
  EXPECT_GE(run->duration_s + run->send_lag_ms.max / 1000,
            plan.arrivals.back() - plan.arrivals.front());
}

TEST(RunTest, OpenLoopHonoursTheConcurrencyLimit) {
  FakeServer server({.token_delay = milliseconds(2)});
  LoadPlan plan;
  plan.arrivals = std::vector<double>(30, 0.001);
  plan.concurrency = 3;
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), plan, To(server));
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->completed, 30u);
  EXPECT_LE(server.most_running(), 4);
}

TEST(RunTest, ManyThreadsAndConnectionsLoseNothing) {
  FakeServer server({});
  RunOptions options = To(server);
  options.client.num_threads = 3;
  options.client.num_connections = 2;
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), ClosedLoop(16, 300), options);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->completed, 300u);
}

TEST(RunTest, MeasuresDecisions) {
  FakeServer server({});
  WorkloadOptions workload = Options();
  workload.decide_share = 1;
  const absl::StatusOr<RunResult> run =
      RunLoad(MakeWorkload(workload), ClosedLoop(4, 50), To(server));
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->decisions.count, 50u);
  EXPECT_EQ(run->all.tpot.count, 0u);
}

TEST(RunTest, CountsRefusalsByCode) {
  FakeServer server({.token_delay = milliseconds(5), .max_running = 2});
  LoadPlan plan;
  plan.arrivals = std::vector<double>(10, 0.001);
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), plan, To(server));
  ASSERT_TRUE(run.ok());
  EXPECT_GT(run->codes.at("RESOURCE_EXHAUSTED"), 0u);
  EXPECT_EQ(run->completed + run->failed, 10u);
  EXPECT_TRUE(run->clean());
}

TEST(RunTest, ReportsBrokenStreams) {
  FakeServer server({.forget_finish = true});
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), ClosedLoop(1, 3), To(server));
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->broken_streams, 3u);
  EXPECT_FALSE(run->clean());
}

TEST(RunTest, AHangingServerShowsAsUnexpectedDeadlines) {
  FakeServer server({.hang = true});
  RunOptions options = To(server);
  options.client.timeout_s = 0.2;
  const absl::StatusOr<RunResult> run = RunLoad(MakeWorkload(), ClosedLoop(2, 2), options);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->codes.at("DEADLINE_EXCEEDED"), 2u);
  EXPECT_EQ(run->unexpected_codes, 2u);
}

TEST(RunTest, SaysWhenNoServerAnswers) {
  ClientOptions options;
  options.target = "127.0.0.1:1";
  const Workload workload = MakeWorkload();
  Client client(options, workload, {[](int) { return 0.0; }, [](int) {}});
  EXPECT_EQ(client.Connect(std::chrono::seconds(0)).code(), absl::StatusCode::kUnavailable);
}

TEST(RunTest, ChaosEndsEveryStream) {
  FakeServer server({.token_delay = milliseconds(2)});
  WorkloadOptions workload = Options();
  workload.output_lens = *Lengths::Parse("40");
  workload.chaos = true;
  workload.chaos_mix = *ChaosMix::Parse("cancel:0.4,deadline:0.2,burst:0.05,slow:0.02");
  workload.burst = 10;
  const absl::StatusOr<RunResult> run =
      RunLoad(MakeWorkload(workload), ClosedLoop(8, 150), To(server));
  ASSERT_TRUE(run.ok());
  EXPECT_TRUE(run->clean()) << (run->problems.empty() ? "" : run->problems[0]);
  EXPECT_GE(run->completed + run->failed, 150u);
  EXPECT_GT(run->codes_by_fault.at("cancel").at("CANCELLED"), 0u);
  EXPECT_GT(run->codes_by_fault.at("deadline").at("DEADLINE_EXCEEDED"), 0u);
}

TEST(RunTest, ChaosNoticesThatAnInvalidRequestPasses) {
  FakeServer server({});
  WorkloadOptions workload = Options();
  workload.chaos = true;
  workload.chaos_mix = *ChaosMix::Parse("invalid:1");
  const absl::StatusOr<RunResult> run =
      RunLoad(MakeWorkload(workload), ClosedLoop(4, 60), To(server));
  ASSERT_TRUE(run.ok());
  EXPECT_GT(run->unexpected_codes, 0u);  // it takes a top_p of 1.5
  EXPECT_EQ(run->codes_by_fault.at("invalid: no prompt").count("OK"), 0u);
}

}  // namespace
}  // namespace spade::loadtest
