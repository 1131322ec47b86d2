// Several tenants' sequences on one scheduler.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/schedule/scheduler_fixture.h"

namespace spade {
namespace {

using testing::SchedulerTest;
using testing::Spec;

class TenantsTest : public SchedulerTest {
 protected:
  SequenceId AddFor(const std::string& tenant, int32_t prompt, int32_t max_tokens,
                    int32_t priority = 0) {
    SequenceSpec spec = Spec(prompt, max_tokens, /*first=*/next_ += 100);
    spec.tenant = tenant;
    spec.priority = priority;
    const SequenceId id = Add(std::move(spec));
    tenants_[id] = tenant;
    return id;
  }

  // Runs a step and removes what is finished; counts each tenant's rows.
  void Turn() {
    const StepPlan plan = Step();
    for (const PlannedRows& rows : plan.rows) {
      rows_[tenants_.at(rows.sequence)] += rows.count;
      const Sequence& sequence = Get(rows.sequence);
      if (sequence.num_output() < sequence.spec.max_tokens) continue;
      scheduler_->Remove(rows.sequence);
      ++finished_[tenants_.at(rows.sequence)];
    }
  }

  TokenId next_ = 0;
  std::map<SequenceId, std::string> tenants_;
  std::map<std::string, int64_t> rows_;
  std::map<std::string, int> finished_;
};

TEST_F(TenantsTest, ANewcomerIsNextHoweverManyWait) {
  Make(64, 16, /*max_sequences=*/1);
  for (int i = 0; i < 50; ++i) AddFor("greedy", 4, 2);
  Turn();
  const SequenceId late = AddFor("late", 4, 2);
  while (finished_["greedy"] < 1) Turn();
  Turn();
  EXPECT_EQ(Get(late).phase, SequencePhase::kRunning);
}

TEST_F(TenantsTest, TwoThatAlwaysWaitGetTokensByWeight) {
  SchedulerOptions options;
  options.max_rows = 16;
  options.max_sequences = 4;
  options.block_size = testing::kBlockSize;
  options.tenant_weights = TenantWeights({{"big", 2}});
  Make(64, options);
  // One asks for long prompts, the other for long outputs.
  for (int i = 0; i < 300; ++i) AddFor("big", 12, 2);
  for (int i = 0; i < 300; ++i) AddFor("small", 4, 10);
  for (int i = 0; i < 300; ++i) Turn();
  const double ratio = static_cast<double>(rows_["big"]) / static_cast<double>(rows_["small"]);
  EXPECT_NEAR(ratio, 2, 0.2);
}

TEST_F(TenantsTest, AShortRequestOfAnotherWaitsForOneTurnNotForTheGreedyQueue) {
  Make(64, 16, /*max_sequences=*/2);
  for (int i = 0; i < 200; ++i) AddFor("greedy", 8, 4);
  int worst = 0;
  for (int round = 0; round < 20; ++round) {
    const SequenceId id = AddFor("light", 4, 1);
    int turns = 0;
    while (scheduler_->Find(id) != nullptr) {
      Turn();
      ++turns;
    }
    worst = std::max(worst, turns);
  }
  EXPECT_LE(worst, 6) << "a greedy sequence takes 4 steps";
}

TEST_F(TenantsTest, PriorityCountsWithinATenantOnly) {
  Make(64, 16, /*max_sequences=*/1);
  const SequenceId running = AddFor("a", 4, 2);
  Turn();
  const SequenceId later = AddFor("a", 4, 2, /*priority=*/0);
  const SequenceId urgent = AddFor("a", 4, 2, /*priority=*/-5);
  const SequenceId other = AddFor("b", 4, 2, /*priority=*/7);
  while (scheduler_->Find(running) != nullptr) Turn();
  Turn();
  EXPECT_EQ(Get(other).phase, SequencePhase::kRunning) << "b was served less than a";
  while (scheduler_->Find(other) != nullptr) Turn();
  Turn();
  EXPECT_EQ(Get(urgent).phase, SequencePhase::kRunning);
  EXPECT_EQ(Get(later).phase, SequencePhase::kWaiting);
}

TEST_F(TenantsTest, BackgroundWorkComesLastWhoseverItIs) {
  Make(64, 16, /*max_sequences=*/1);
  const SequenceId running = AddFor("busy", 4, 2);
  Turn();
  SequenceSpec spec = Spec(4, 2, /*first=*/next_ += 100);
  spec.tenant = "light";
  spec.background = true;
  const SequenceId check = Add(std::move(spec));
  tenants_[check] = "light";
  const SequenceId asked = AddFor("busy", 4, 2);
  while (scheduler_->Find(running) != nullptr) Turn();
  Turn();
  EXPECT_EQ(Get(asked).phase, SequencePhase::kRunning);
  EXPECT_EQ(Get(check).phase, SequencePhase::kWaiting);
}

TEST_F(TenantsTest, AnUrgentStreamOfOneTenantDoesNotHoldUpAnothersPrefill) {
  Make(256, 8, /*max_sequences=*/4);
  AddFor("slow", 64, 1);
  Turn();
  int turns = 1;
  while (finished_["slow"] == 0 && turns < 100) {
    AddFor("urgent", 8, 1, /*priority=*/-100);
    Turn();
    ++turns;
  }
  EXPECT_LE(turns, 2 * 64 / 8 + 2) << "it gets half of the rows";
}

TEST_F(TenantsTest, EveryoneFinishesWhenBlocksAreShort) {
  Make(12, 16, /*max_sequences=*/4);
  for (int i = 0; i < 20; ++i) {
    AddFor("a", 6, 20);
    AddFor("b", 10, 12, /*priority=*/-1);
    AddFor("c", 3, 30);
  }
  for (int i = 0; i < 20'000 && scheduler_->num_waiting() + scheduler_->num_running() > 0; ++i) {
    Turn();
  }
  EXPECT_EQ(finished_["a"], 20);
  EXPECT_EQ(finished_["b"], 20);
  EXPECT_EQ(finished_["c"], 20);
  EXPECT_EQ(pool_->num_in_use(), 0);
}

}  // namespace
}  // namespace spade
