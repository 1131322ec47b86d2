// What a plan costs, counted in sequences looked at.
#include "tests/schedule/scheduler_fixture.h"

namespace spade::testing {
namespace {

class PlanCostTest : public SchedulerTest {
 protected:
  // `count` sequences in steady decode.
  void MakeDecoding(int32_t count) {
    Make(/*num_blocks=*/4 * count, /*max_rows=*/count + 64, /*max_sequences=*/count);
    for (int32_t i = 0; i < count; ++i) ids_.push_back(Add(Spec(1, 10, i)));
    while (scheduler_->num_waiting() > 0) Step();
  }

  std::vector<SequenceId> ids_;
};

TEST_F(PlanCostTest, GrowsLinearlyWithTheRunningSequences) {
  for (const int32_t count : {100, 1000, 10000}) {
    ids_.clear();
    MakeDecoding(count);
    const StepPlan plan = Step();
    EXPECT_EQ(plan.rows.size(), static_cast<size_t>(count));
    EXPECT_LE(plan.num_looked_at, 2 * count);
  }
}

TEST_F(PlanCostTest, DoesNotGrowWithWhatWaits) {
  MakeDecoding(100);
  for (int32_t i = 0; i < 5000; ++i) Add(Spec(4, 1, 4 * i));
  EXPECT_LE(Step().num_looked_at, 2 * 100 + 1);
}

TEST_F(PlanCostTest, GrowsLinearlyWithAdmissions) {
  Make(/*num_blocks=*/20000, /*max_rows=*/6000, /*max_sequences=*/5000);
  for (int32_t i = 0; i < 5000; ++i) Add(Spec(1, 10, i));
  const StepPlan plan = Step();
  EXPECT_EQ(plan.admitted.size(), 5000u);
  EXPECT_LE(plan.num_looked_at, 2 * 5000);
}

// The next plan drops them all in one go.
TEST_F(PlanCostTest, SequencesThatEndAreGoneAtOnce) {
  MakeDecoding(1000);
  for (size_t i = 0; i < ids_.size(); i += 2) scheduler_->Remove(ids_[i]);
  EXPECT_EQ(scheduler_->num_running(), 500);
  EXPECT_EQ(scheduler_->Find(ids_[0]), nullptr);
  const StepPlan plan = Step();
  EXPECT_EQ(plan.rows.size(), 500u);
  EXPECT_LE(plan.num_looked_at, 2 * 500);
}

}  // namespace
}  // namespace spade::testing
