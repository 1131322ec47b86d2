#include "tools/simulate/workload.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/testing/temp_dir.h"

namespace spade::simulate {
namespace {

TEST(WorkloadTest, SyntheticRequestsComeAtTheirRate) {
  WorkloadOptions options;
  options.requests = 500;
  options.rate = 50;
  const std::vector<Request> requests = *MakeWorkload(options);
  ASSERT_EQ(requests.size(), 500u);
  EXPECT_NEAR(requests.back().arrival, 10, 1e-6);
  EXPECT_TRUE(std::ranges::is_sorted(requests, {}, &Request::arrival));
}

TEST(WorkloadTest, DecisionsHaveNoOutput) {
  WorkloadOptions options;
  options.decide_share = 0.5;
  const std::vector<Request> requests = *MakeWorkload(options);
  EXPECT_NEAR(std::ranges::count(requests, 0, &Request::output_len), 500, 60);
}

TEST(WorkloadTest, ATraceIsScaledToTheContextAndTheSpeed) {
  const spade::testing::TempDir dir;
  WorkloadOptions options;
  options.trace = dir.Write("trace.csv",
                            "TIMESTAMP,ContextTokens,GeneratedTokens\n"
                            "2023-11-16 18:15:46.0,600,200\n2023-11-16 18:15:50.0,80,40\n");
  options.max_context = 400;
  options.speed = 2;
  const std::vector<Request> requests = *MakeWorkload(options);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].prompt_len, 300);
  EXPECT_EQ(requests[0].output_len, 100);
  EXPECT_EQ(requests[1].prompt_len, 40);
  EXPECT_DOUBLE_EQ(requests[1].arrival, 2);
}

TEST(WorkloadTest, BadLengthsAreNamed) {
  WorkloadOptions options;
  options.prompt_len = "many";
  EXPECT_NE(MakeWorkload(options).status().message().find("many"), std::string::npos);
}

}  // namespace
}  // namespace spade::simulate
