#include "loadtest/session.h"

#include <gtest/gtest.h>

#include <fstream>

namespace spade::loadtest {
namespace {

ModelFacts Model() { return {"tiny", 50, 256, true, 0, {1}}; }

Options MakeOptions() {
  Options options;
  options.workload.input_lens = *Lengths::Parse("8");
  options.workload.output_lens = *Lengths::Parse("8");
  return options;
}

RunResult Result(double offered, uint64_t completed, uint64_t failed, uint64_t good) {
  RunResult run;
  run.offered_rate = offered;
  run.duration_s = 1;
  run.completed = completed;
  run.failed = failed;
  run.good = good;
  return run;
}

TEST(MakePlanTest, OpenLoopFillsTheDuration) {
  Options options = MakeOptions();
  options.duration_s = 10;
  const absl::StatusOr<Workload> workload = MakeWorkload(options, Model());
  const LoadPlan plan = MakePlan(options, *workload, 20, 0);
  EXPECT_EQ(plan.arrivals.size(), 200u);
  EXPECT_NEAR(plan.arrivals.back(), 10, 1e-9);
  EXPECT_EQ(plan.offered_rate, 20);
}

TEST(MakePlanTest, WithoutARateItIsAClosedLoop) {
  Options options = MakeOptions();
  options.num_requests = 7;
  const absl::StatusOr<Workload> workload = MakeWorkload(options, Model());
  const LoadPlan plan = MakePlan(options, *workload, 0, 0);
  EXPECT_TRUE(plan.arrivals.empty());
  EXPECT_EQ(plan.concurrency, 1);
  EXPECT_EQ(plan.num_requests, 7u);
}

TEST(MakePlanTest, ReplaysTheTracesTimesUpToTheDuration) {
  const std::string path = testing::TempDir() + "/trace.csv";
  std::ofstream(path) << "2024-01-01 00:00:00,100,20\n2024-01-01 00:00:03,1000,24\n"
                         "2024-01-01 00:00:09,10,2\n";
  Options options = MakeOptions();
  options.trace.path = path;
  options.duration_s = 5;
  const absl::StatusOr<Workload> workload = MakeWorkload(options, Model());
  ASSERT_TRUE(workload.ok()) << workload.status();
  const LoadPlan plan = MakePlan(options, *workload, 0, 0);
  ASSERT_EQ(plan.arrivals.size(), 2u);
  EXPECT_NEAR(plan.arrivals[1], 3, 1e-6);
  const RequestSpec spec = workload->MakeSpec(1);
  EXPECT_EQ(spec.input_len + spec.output_len, 256u);
}

TEST(MakeWorkloadTest, RefusesAnotherModel) {
  Options options = MakeOptions();
  options.model = "other";
  EXPECT_EQ(MakeWorkload(options, Model()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(IsSaturatedTest, SeesThroughputFallBehind) {
  EXPECT_FALSE(IsSaturated(Result(100, 95, 0, 0), Slo()));
  EXPECT_TRUE(IsSaturated(Result(100, 85, 0, 0), Slo()));
}

TEST(IsSaturatedTest, SeesTheSloMissed) {
  const absl::StatusOr<Slo> slo = Slo::Parse({"ttft:10"});
  EXPECT_FALSE(IsSaturated(Result(100, 100, 0, 95), *slo));
  EXPECT_TRUE(IsSaturated(Result(100, 100, 0, 85), *slo));
}

}  // namespace
}  // namespace spade::loadtest
