// Sequences whose last row is held at an exit.
#include "tests/schedule/scheduler_fixture.h"

namespace spade::testing {
namespace {

class HeldTest : public SchedulerTest {
 protected:
  // Runs the sequence's prompt and, after it, a row that is held after the first of two stages.
  SequenceId AddHeld(SequenceSpec spec) {
    const SequenceId id = Add(std::move(spec));
    Step();
    scheduler_->Plan();
    Hold(id);
    return id;
  }
  void Hold(SequenceId id) {
    const RanRows ran{id, Get(id).length(), 1, /*is_held=*/true};
    scheduler_->Commit({&ran, 1});
  }
};

TEST_F(HeldTest, AHeldSequenceIsListedAndPlansNoRow) {
  Make(16, 16);
  const SequenceId id = AddHeld(Spec(4, 8));
  const StepPlan& plan = scheduler_->Plan();
  EXPECT_TRUE(plan.rows.empty());
  EXPECT_EQ(plan.held, std::vector<SequenceId>{id});
  EXPECT_FALSE(plan.empty());
}

TEST_F(HeldTest, WhenItsRowHasRunItGoesOn) {
  Make(16, 16);
  const SequenceId id = AddHeld(Spec(4, 8));
  scheduler_->Plan();
  const RanRows ran{id, Get(id).length(), 2};
  scheduler_->Commit({&ran, 1});
  scheduler_->Append(id, 1000);
  const StepPlan& plan = scheduler_->Plan();
  EXPECT_TRUE(plan.held.empty());
  EXPECT_EQ(RowsOf(plan, id).count, 1);
}

TEST_F(HeldTest, RoomIsKeptForItsRow) {
  Make(16, 8);
  AddHeld(Spec(4, 8));
  Add(Spec(20, 4, 100));
  const StepPlan& plan = scheduler_->Plan();
  ASSERT_EQ(plan.rows.size(), 1u);
  EXPECT_EQ(plan.rows[0].count, 7);
  EXPECT_EQ(plan.num_rows, 8);
}

// A prompt that needs a whole step gets one, and what is held goes on later.
TEST_F(HeldTest, AWholePromptThatComesFirstTakesTheRoom) {
  Make(16, 8);
  const SequenceId held = AddHeld(Spec(4, 8));
  SequenceSpec spec = Spec(8, 0, 100);
  spec.whole_prompt = true;
  const SequenceId whole = Add(std::move(spec));
  const StepPlan plan = scheduler_->Plan();
  EXPECT_EQ(RowsOf(plan, whole).count, 8);
  EXPECT_TRUE(plan.held.empty());
  EXPECT_EQ(plan.num_rows, 8);
  scheduler_->Commit(plan);
  scheduler_->Remove(whole);
  EXPECT_EQ(scheduler_->Plan().held, std::vector<SequenceId>{held});
}

TEST_F(HeldTest, APreemptedOneRunsItsRowAgain) {
  Make(4, 16);
  const SequenceId a = Add(Spec(4, 12));
  Step();
  const SequenceId b = AddHeld(Spec(4, 8, 100));
  while (Get(b).num_preemptions == 0) {
    const StepPlan plan = scheduler_->Plan();
    ASSERT_EQ(RowsOf(plan, b).count, 0);
    ASSERT_EQ(plan.held.empty(), Get(b).num_preemptions > 0);
    scheduler_->Commit(plan);
    for (const PlannedRows& rows : plan.rows) scheduler_->Append(rows.sequence, 1000);
  }
  scheduler_->Remove(a);
  const PlannedRows rows = RowsOf(scheduler_->Plan(), b);
  EXPECT_EQ(rows.first + rows.count, Get(b).length());
  EXPECT_TRUE(rows.samples);
}

}  // namespace
}  // namespace spade::testing
