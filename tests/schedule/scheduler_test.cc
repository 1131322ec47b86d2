#include "engine/schedule/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "absl/status/status.h"
#include "tests/schedule/scheduler_fixture.h"

namespace spade {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kBlockSize;
using testing::SchedulerTest;
using testing::Spec;

// ---- Add and Remove

TEST_F(SchedulerTest, RefusesAnEmptyPrompt) {
  Make(8, 16);
  EXPECT_TRUE(absl::IsInvalidArgument(scheduler_->Add(Spec(0, 1)).status()));
}

TEST_F(SchedulerTest, RefusesNegativeMaxTokens) {
  Make(8, 16);
  EXPECT_TRUE(absl::IsInvalidArgument(scheduler_->Add(Spec(1, -1)).status()));
}

TEST_F(SchedulerTest, RefusesWhatThePoolCannotHold) {
  Make(2, 16);
  EXPECT_TRUE(scheduler_->Add(Spec(4, 4)).ok());
  const absl::Status status = scheduler_->Add(Spec(4, 5)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("KV cache of 8 tokens"));
}

TEST_F(SchedulerTest, RefusesWhatExceedsTheContext) {
  SchedulerOptions options;
  options.max_context = 10;
  Make(100, options);
  EXPECT_TRUE(scheduler_->Add(Spec(4, 6)).ok());
  const absl::Status status = scheduler_->Add(Spec(4, 7)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("context of 10 tokens"));
}

TEST_F(SchedulerTest, MaxTokensNearTheLimitOfIntIsRefusedNotOverflowed) {
  Make(8, 16);
  const auto id = scheduler_->Add(Spec(4, std::numeric_limits<int32_t>::max()));
  EXPECT_TRUE(absl::IsInvalidArgument(id.status()));
}

TEST_F(SchedulerTest, RemoveReleasesTheBlocksOfARunningSequence) {
  Make(8, 16);
  const SequenceId id = Add(Spec(6, 4));
  Step();
  EXPECT_EQ(pool_->num_in_use(), 2);
  scheduler_->Remove(id);
  EXPECT_EQ(pool_->num_in_use(), 0);
  EXPECT_EQ(scheduler_->num_running(), 0);
  EXPECT_EQ(scheduler_->Find(id), nullptr);
}

TEST_F(SchedulerTest, RemoveTakesAWaitingSequenceOutOfTheQueue) {
  Make(8, 16);
  const SequenceId id = Add(Spec(6, 4));
  scheduler_->Remove(id);
  EXPECT_EQ(scheduler_->num_waiting(), 0);
  EXPECT_TRUE(Step().empty());
}

TEST_F(SchedulerTest, RemoveOfAnUnknownSequenceHasNoEffect) {
  Make(8, 16);
  Add(Spec(6, 4));
  scheduler_->Remove(77);
  EXPECT_EQ(scheduler_->num_waiting(), 1);
}

// ---- Prefill, decode, budget

TEST_F(SchedulerTest, AnIdleSchedulerPlansNothing) {
  Make(8, 16);
  EXPECT_TRUE(Step().empty());
}

TEST_F(SchedulerTest, RunsAPromptThatFitsInOneStep) {
  Make(8, 16);
  const SequenceId id = Add(Spec(6, 4));
  const StepPlan plan = Step();
  EXPECT_THAT(plan.admitted, ElementsAre(id));
  EXPECT_EQ(plan.num_rows, 6);
  const PlannedRows rows = RowsOf(plan, id);
  EXPECT_EQ(rows.first, 0);
  EXPECT_EQ(rows.count, 6);
  EXPECT_TRUE(rows.samples);
}

TEST_F(SchedulerTest, ChunksAPromptThatExceedsTheBudget) {
  Make(8, 4);
  const SequenceId id = Add(Spec(6, 4));
  const PlannedRows first = RowsOf(Step(), id);
  EXPECT_EQ(first.count, 4);
  EXPECT_FALSE(first.samples);
  const PlannedRows second = RowsOf(Step(), id);
  EXPECT_EQ(second.first, 4);
  EXPECT_EQ(second.count, 2);
  EXPECT_TRUE(second.samples);
}

TEST_F(SchedulerTest, ThenDecodesOneRowAStep) {
  Make(8, 16);
  const SequenceId id = Add(Spec(6, 4));
  Step();
  const PlannedRows rows = RowsOf(Step(), id);
  EXPECT_EQ(rows.first, 6);
  EXPECT_EQ(rows.count, 1);
  EXPECT_TRUE(rows.samples);
}

TEST_F(SchedulerTest, PlansNoRowAfterTheLastTokenIsDrawn) {
  Make(8, 16);
  const SequenceId id = Add(Spec(3, 2));
  Step();
  Step();
  EXPECT_EQ(Get(id).num_output(), 2);
  EXPECT_TRUE(Step().empty());
}

TEST_F(SchedulerTest, PlansNoRowBeforeTheDrawnTokenIsAppended) {
  Make(8, 16);
  Add(Spec(3, 2));
  scheduler_->Commit(scheduler_->Plan());
  EXPECT_TRUE(scheduler_->Plan().empty());
}

TEST_F(SchedulerTest, AStepThatWasNotCommittedIsPlannedAgain) {
  Make(8, 16);
  const SequenceId id = Add(Spec(6, 2));
  const PlannedRows failed = RowsOf(scheduler_->Plan(), id);
  const int32_t in_use = pool_->num_in_use();
  const PlannedRows again = RowsOf(scheduler_->Plan(), id);
  EXPECT_EQ(again.first, failed.first);
  EXPECT_EQ(again.count, failed.count);
  EXPECT_EQ(pool_->num_in_use(), in_use);
}

TEST_F(SchedulerTest, CommitFillsEveryStage) {
  Make(8, 16);
  const SequenceId id = Add(Spec(6, 4));
  Step();
  EXPECT_EQ(Get(id).frontier.filled(0), 6);
  EXPECT_EQ(Get(id).frontier.filled(1), 6);
}

TEST_F(SchedulerTest, HoldsABlockForEachPlannedRow) {
  Make(8, 16);
  const SequenceId id = Add(Spec(4, 4));
  Step();
  EXPECT_EQ(Get(id).blocks.size(), 1u);
  Step();
  EXPECT_EQ(Get(id).blocks.size(), 2u);
}

TEST_F(SchedulerTest, DecodeRowsComeBeforePrefillRows) {
  Make(16, 8);
  SequenceSpec urgent = Spec(20, 4, 100);
  urgent.priority = -1;
  const SequenceId decoding = Add(Spec(4, 8));
  Step();
  const SequenceId prefilling = Add(urgent);
  EXPECT_THAT(Order(Step()), ElementsAre(decoding, prefilling));
}

TEST_F(SchedulerTest, PrefillLeavesEachDecodeItsRow) {
  Make(16, 8);
  const SequenceId a = Add(Spec(2, 8));
  const SequenceId b = Add(Spec(2, 8, 50));
  Step();
  SequenceSpec urgent = Spec(20, 4, 100);
  urgent.priority = -1;
  const SequenceId prefill = Add(urgent);
  Step();
  const StepPlan plan = Step();
  EXPECT_EQ(RowsOf(plan, a).count, 1);
  EXPECT_EQ(RowsOf(plan, b).count, 1);
  EXPECT_EQ(RowsOf(plan, prefill).count, 6);
}

TEST_F(SchedulerTest, NeverPlansMoreThanTheBudget) {
  Make(64, 8);
  for (TokenId i = 0; i < 6; ++i) Add(Spec(10, 5, 100 * i));
  for (int step = 0; step < 40; ++step) EXPECT_LE(Step().num_rows, 8);
}

TEST_F(SchedulerTest, RunsNoMoreSequencesThanAllowed) {
  Make(64, 32, /*max_sequences=*/2);
  for (TokenId i = 0; i < 4; ++i) Add(Spec(2, 5, 100 * i));
  Step();
  EXPECT_EQ(scheduler_->num_running(), 2);
  EXPECT_EQ(scheduler_->num_waiting(), 2);
}

TEST_F(SchedulerTest, RunsNoMoreSequencesThanAStepHasRows) {
  Make(64, 2, /*max_sequences=*/8);
  for (TokenId i = 0; i < 4; ++i) Add(Spec(1, 5, 100 * i));
  for (int step = 0; step < 4; ++step) Step();
  EXPECT_EQ(scheduler_->num_running(), 2);
}

// ---- Rank

TEST_F(SchedulerTest, AdmitsInOrderOfArrival) {
  Make(64, 32);
  const SequenceId a = Add(Spec(2, 5));
  const SequenceId b = Add(Spec(2, 5, 50));
  EXPECT_THAT(Step().admitted, ElementsAre(a, b));
}

TEST_F(SchedulerTest, AdmitsALowerPriorityValueFirst) {
  Make(64, 32);
  const SequenceId a = Add(Spec(2, 5));
  SequenceSpec urgent = Spec(2, 5, 50);
  urgent.priority = -1;
  const SequenceId b = Add(urgent);
  EXPECT_THAT(Step().admitted, ElementsAre(b, a));
}

TEST_F(SchedulerTest, AnUrgentArrivalPrefillsBeforeARunningPrefill) {
  Make(64, 8);
  const SequenceId slow = Add(Spec(40, 4));
  Step();
  SequenceSpec spec = Spec(6, 4, 100);
  spec.priority = -1;
  const SequenceId urgent = Add(spec);
  const StepPlan plan = Step();
  EXPECT_EQ(RowsOf(plan, urgent).count, 6);
  EXPECT_EQ(RowsOf(plan, slow).count, 2);
}

TEST_F(SchedulerTest, ASequenceTooLargeForNowIsNotOvertaken) {
  Make(8, 64);
  Add(Spec(16, 8));
  Step();
  Add(Spec(20, 4, 100));
  Add(Spec(1, 1, 200));
  EXPECT_THAT(Step().admitted, IsEmpty());
}

}  // namespace
}  // namespace spade
