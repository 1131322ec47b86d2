#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "engine/schedule/scheduler.h"
#include "tests/schedule/scheduler_fixture.h"

namespace spade {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::kBlockSize;
using testing::SchedulerTest;
using testing::Spec;

// ---- Memory

TEST_F(SchedulerTest, AdmitsOnlyWithRoomForTheWholePrompt) {
  Make(8, 4);
  const SequenceId a = Add(Spec(16, 4));
  const SequenceId b = Add(Spec(16, 4, 100));
  for (int step = 0; step < 4; ++step) Step();
  EXPECT_EQ(Get(a).phase, SequencePhase::kRunning);
  EXPECT_EQ(Get(b).phase, SequencePhase::kWaiting);
}

TEST_F(SchedulerTest, PreemptsTheLowestRankWhenBlocksRunOut) {
  Make(4, 16);
  const SequenceId a = Add(Spec(4, 12));
  const SequenceId b = Add(Spec(4, 4, 100));
  Step();
  ASSERT_EQ(scheduler_->num_running(), 2);
  StepPlan plan;
  while (plan.preempted.empty()) plan = Step();
  EXPECT_THAT(plan.preempted, ElementsAre(b));
  EXPECT_EQ(RowsOf(plan, a).count, 1);
  EXPECT_TRUE(Get(b).blocks.empty());
  EXPECT_EQ(Get(b).num_preemptions, 1);
}

TEST_F(SchedulerTest, PreemptionFollowsPriorityBeforeArrival) {
  Make(4, 16);
  const SequenceId a = Add(Spec(4, 8));
  SequenceSpec urgent = Spec(4, 12, 100);
  urgent.priority = -1;
  Add(urgent);
  Step();
  StepPlan plan;
  while (plan.preempted.empty()) plan = Step();
  EXPECT_THAT(plan.preempted, ElementsAre(a));
}

TEST_F(SchedulerTest, APreemptedSequenceKeepsItsTokensAndIsRecomputed) {
  Make(4, 16);
  const SequenceId a = Add(Spec(4, 12));
  SequenceSpec spec = Spec(4, 8, 100);
  spec.use_prefix_cache = false;
  const SequenceId b = Add(spec);
  while (Get(b).num_preemptions == 0) Step();
  const std::vector<TokenId> tokens = Get(b).tokens;
  EXPECT_GT(tokens.size(), 4u);
  scheduler_->Remove(a);
  const PlannedRows rows = RowsOf(Step(), b);
  EXPECT_EQ(rows.first, 0);
  EXPECT_EQ(rows.count, static_cast<int32_t>(tokens.size()));
  EXPECT_TRUE(rows.samples);
}

TEST_F(SchedulerTest, RecomputationTakesWhatIsStillCached) {
  Make(5, 16);
  const SequenceId a = Add(Spec(4, 12));
  const SequenceId b = Add(Spec(8, 8, 100));
  while (Get(b).num_preemptions == 0) Step();
  scheduler_->Remove(a);
  EXPECT_GE(RowsOf(Step(), b).first, kBlockSize);
}

TEST_F(SchedulerTest, ASequencePreemptedBeforeAppendDrawsNoSecondToken) {
  Make(4, 16);
  const SequenceId a = Add(Spec(4, 12));
  const SequenceId b = Add(Spec(4, 8, 100));
  while (Get(b).num_preemptions == 0) {
    const StepPlan plan = scheduler_->Plan();
    scheduler_->Commit(plan);
    // The token of b is late: it has drawn its first one and no more.
    for (const PlannedRows& rows : plan.rows) {
      if (rows.sequence == a) scheduler_->Append(a, 1000);
    }
  }
  scheduler_->Remove(a);
  EXPECT_TRUE(Step().empty());
  scheduler_->Append(b, 1000);
  const PlannedRows rows = RowsOf(Step(), b);
  EXPECT_EQ(rows.first + rows.count, 5);
  EXPECT_TRUE(rows.samples);
}

TEST_F(SchedulerTest, CachedTokensAreThoseOfTheFirstAdmission) {
  Make(5, 16);
  const SequenceId a = Add(Spec(4, 12));
  const SequenceId b = Add(Spec(8, 8, 100));
  while (Get(b).num_preemptions == 0) Step();
  scheduler_->Remove(a);
  Step();
  EXPECT_EQ(Get(b).cached_tokens, 0);
}

// ---- Prefix cache

TEST_F(SchedulerTest, SharesTheFullBlocksOfACommonPrefix) {
  Make(16, 32);
  const SequenceId a = Add(Spec(10, 4));
  Step();
  const SequenceId b = Add(Spec(11, 4));
  const PlannedRows rows = RowsOf(Step(), b);
  EXPECT_EQ(rows.first, 8);
  EXPECT_EQ(rows.count, 3);
  EXPECT_EQ(Get(b).cached_tokens, 8);
  EXPECT_EQ(Get(b).blocks[0], Get(a).blocks[0]);
  EXPECT_EQ(Get(b).blocks[1], Get(a).blocks[1]);
  EXPECT_NE(Get(b).blocks[2], Get(a).blocks[2]);
}

TEST_F(SchedulerTest, AFullyCachedPromptStillRunsItsLastBlock) {
  Make(16, 32);
  const SequenceId a = Add(Spec(8, 4));
  Step();
  const SequenceId b = Add(Spec(8, 4));
  const PlannedRows rows = RowsOf(Step(), b);
  EXPECT_EQ(rows.first, 4);
  EXPECT_EQ(rows.count, 4);
  EXPECT_TRUE(rows.samples);
  EXPECT_NE(Get(b).blocks[1], Get(a).blocks[1]);
}

TEST_F(SchedulerTest, FindsThePrefixOfARemovedSequence) {
  Make(16, 32);
  const SequenceId a = Add(Spec(10, 4));
  Step();
  scheduler_->Remove(a);
  const SequenceId b = Add(Spec(10, 4));
  EXPECT_EQ(RowsOf(Step(), b).first, 8);
}

TEST_F(SchedulerTest, FindsOutputTokensToo) {
  Make(16, 32);
  const SequenceId a = Add(Spec(6, 4));
  for (int step = 0; step < 4; ++step) Step();
  std::vector<TokenId> chat = Get(a).tokens;
  chat.resize(12, 7);
  scheduler_->Remove(a);
  SequenceSpec spec;
  spec.prompt = chat;
  spec.max_tokens = 1;
  const SequenceId b = Add(spec);
  EXPECT_EQ(RowsOf(Step(), b).first, 8);
}

TEST_F(SchedulerTest, DoesNotShareABlockBeforeItIsComplete) {
  Make(16, 4);
  Add(Spec(10, 4));
  scheduler_->Plan();  // four rows planned, not committed
  SequenceSpec spec = Spec(10, 4);
  spec.priority = -1;
  const SequenceId b = Add(spec);
  EXPECT_EQ(RowsOf(scheduler_->Plan(), b).first, 0);
}

TEST_F(SchedulerTest, DoesNotShareAcrossSalts) {
  Make(16, 32);
  Add(Spec(10, 4));
  Step();
  SequenceSpec spec = Spec(10, 4);
  spec.cache_salt = "tenant";
  const SequenceId first = Add(spec);
  EXPECT_EQ(RowsOf(Step(), first).first, 0);
  const SequenceId second = Add(spec);
  EXPECT_EQ(RowsOf(Step(), second).first, 8);
}

TEST_F(SchedulerTest, ASequenceWithoutPrefixCacheSharesNothing) {
  Make(16, 32);
  Add(Spec(10, 4));
  Step();
  SequenceSpec spec = Spec(10, 4);
  spec.use_prefix_cache = false;
  const SequenceId b = Add(spec);
  EXPECT_EQ(RowsOf(Step(), b).first, 0);
}

TEST_F(SchedulerTest, ASequenceWithoutPrefixCachePublishesNothing) {
  Make(16, 32);
  SequenceSpec spec = Spec(10, 4);
  spec.use_prefix_cache = false;
  const SequenceId a = Add(spec);
  Step();
  scheduler_->Remove(a);
  EXPECT_EQ(pool_->num_cached(), 0);
}

TEST_F(SchedulerTest, TheOptionTurnsThePrefixCacheOff) {
  SchedulerOptions options;
  options.block_size = kBlockSize;
  options.prefix_cache = false;
  Make(16, options);
  const SequenceId a = Add(Spec(10, 4));
  Step();
  scheduler_->Remove(a);
  EXPECT_EQ(pool_->num_cached(), 0);
}

// ---- Scratch

class ScratchTest : public SchedulerTest {
 protected:
  // A pool of 4 blocks, a scratch of 8.
  void MakeWithScratch(int32_t max_rows = 32, bool prefix_cache = false) {
    SchedulerOptions options;
    options.max_rows = max_rows;
    options.block_size = kBlockSize;
    options.prefix_cache = prefix_cache;
    options.scratch_blocks = 8;
    Make(/*num_blocks=*/4, options);
  }
  SequenceId Decide(int32_t prompt) {
    SequenceSpec spec = Spec(prompt, 0, 100 * ++num_prompts_);
    spec.whole_prompt = true;
    return Add(std::move(spec));
  }
  // Plans and commits; as after a decision's answer, removes what ran.
  StepPlan DecideStep() {
    StepPlan plan = scheduler_->Plan();
    scheduler_->Commit(plan);
    for (const PlannedRows& rows : plan.rows) scheduler_->Remove(rows.sequence);
    return plan;
  }
  TokenId num_prompts_ = 0;
};

TEST_F(ScratchTest, DecisionsTakeNoBlockOfThePool) {
  MakeWithScratch();
  std::vector<SequenceId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(Decide(7));  // 8 blocks: twice what the pool has
  EXPECT_EQ(scheduler_->Plan().rows.size(), 4u);
  EXPECT_EQ(pool_->num_in_use(), 0);
  EXPECT_THAT(Get(ids[0]).blocks, ElementsAre(0, 1));
  EXPECT_THAT(Get(ids[3]).blocks, ElementsAre(6, 7));
}

TEST_F(ScratchTest, EachStepHasAllOfIt) {
  MakeWithScratch();
  for (int i = 0; i < 12; ++i) Decide(7);
  for (int step = 0; step < 3; ++step) EXPECT_EQ(DecideStep().rows.size(), 4u) << step;
  EXPECT_EQ(pool_->num_available(), 4);
}

TEST_F(ScratchTest, WhatItHasNoRoomForWaits) {
  MakeWithScratch();
  for (int i = 0; i < 9; ++i) Decide(1);  // nine rows, nine blocks
  EXPECT_EQ(DecideStep().rows.size(), 8u);
  EXPECT_EQ(DecideStep().rows.size(), 1u);
}

TEST_F(ScratchTest, AFullPoolDoesNotKeepDecisionsOut) {
  MakeWithScratch();
  const SequenceId generation = Add(Spec(13, 3));
  Step();
  ASSERT_EQ(pool_->num_available(), 0);
  const SequenceId decision = Decide(7);
  const StepPlan plan = scheduler_->Plan();
  EXPECT_EQ(RowsOf(plan, decision).count, 7);
  EXPECT_EQ(RowsOf(plan, generation).count, 1);
}

TEST_F(ScratchTest, AFailedStepIsPlannedAgain) {
  MakeWithScratch();
  Decide(5);
  const SequenceId id = Decide(7);
  scheduler_->Plan();
  EXPECT_EQ(RowsOf(scheduler_->Plan(), id).count, 7);
  EXPECT_THAT(Get(id).blocks, ElementsAre(2, 3));
}

TEST_F(ScratchTest, WhatTakesSeveralStepsHasBlocksOfThePool) {
  MakeWithScratch(/*max_rows=*/8);
  const SequenceId id = Decide(12);
  Step();
  EXPECT_FALSE(Get(id).uses_scratch);
  EXPECT_EQ(pool_->num_in_use(), 2);
}

TEST_F(ScratchTest, WhatThePrefixCacheWantsHasBlocksOfThePool) {
  MakeWithScratch(/*max_rows=*/32, /*prefix_cache=*/true);
  Decide(7);
  DecideStep();
  EXPECT_EQ(pool_->num_cached(), 1);
}

// ---- Siblings

SequenceSpec LeavingSpec(int32_t prompt) {
  SequenceSpec spec = Spec(prompt, 0);
  spec.whole_prompt = true;
  spec.may_leave = true;
  return spec;
}

TEST_F(SchedulerTest, TheSecondToBeginWithAPrefixFillsTheCache) {
  Make(/*num_blocks=*/64, /*max_rows=*/32);
  for (int i = 0; i < 20; ++i) {
    const SequenceId id = Add(LeavingSpec(9));
    scheduler_->Plan();
    EXPECT_EQ(Get(id).fills_cache, i == 1 || i == 17) << i;
    scheduler_->Remove(id);  // as if its rows left early: they are never committed
  }
}

TEST_F(SchedulerTest, WhatIsCachedNeedsNoFilling) {
  Make(/*num_blocks=*/64, /*max_rows=*/32);
  const SequenceId first = Add(LeavingSpec(9));
  scheduler_->Commit(scheduler_->Plan());
  scheduler_->Remove(first);
  for (int i = 0; i < 3; ++i) {
    const SequenceId id = Add(LeavingSpec(9));
    scheduler_->Plan();
    EXPECT_FALSE(Get(id).fills_cache) << i;
    EXPECT_EQ(Get(id).cached_tokens, 8);
  }
}

TEST_F(SchedulerTest, OnlyWhatMayLeaveIsToldToFillTheCache) {
  Make(/*num_blocks=*/64, /*max_rows=*/32);
  for (int i = 0; i < 3; ++i) {
    const SequenceId id = Add(Spec(9, 1));
    scheduler_->Plan();
    EXPECT_FALSE(Get(id).fills_cache) << i;
  }
}

TEST_F(SchedulerTest, ASiblingWaitsForThePromptAndSharesIt) {
  Make(16, 6);
  const SequenceId a = Add(Spec(10, 4));
  SequenceSpec spec = Spec(10, 4);
  spec.share_prefix_of = a;
  const SequenceId b = Add(spec);
  EXPECT_THAT(Step().admitted, ElementsAre(a));
  EXPECT_THAT(Step().admitted, IsEmpty());
  const StepPlan plan = Step();
  EXPECT_THAT(plan.admitted, ElementsAre(b));
  EXPECT_EQ(RowsOf(plan, b).first, 8);
}

TEST_F(SchedulerTest, AWaitingSiblingDoesNotHoldUpOthers) {
  Make(32, 16);
  const SequenceId a = Add(Spec(10, 4));
  SequenceSpec spec = Spec(10, 4);
  spec.share_prefix_of = a;
  Add(spec);
  const SequenceId other = Add(Spec(2, 4, 100));
  EXPECT_THAT(Step().admitted, ElementsAre(a, other));
}

TEST_F(SchedulerTest, ASiblingOfAGoneSequenceRuns) {
  Make(16, 6);
  const SequenceId a = Add(Spec(10, 4));
  SequenceSpec spec = Spec(10, 4);
  spec.share_prefix_of = a;
  const SequenceId b = Add(spec);
  Step();
  scheduler_->Remove(a);
  EXPECT_THAT(Step().admitted, ElementsAre(b));
}

// ---- Whole prompts

class WholePromptTest : public SchedulerTest {
 protected:
  SequenceId AddWhole(int32_t prompt, TokenId first, int32_t priority = 0) {
    SequenceSpec spec = Spec(prompt, 1, first);
    spec.whole_prompt = true;
    spec.priority = priority;
    return Add(std::move(spec));
  }
};

TEST_F(WholePromptTest, WaitsForAStepInWhichItFits) {
  Make(64, 10);
  const SequenceId a = AddWhole(7, 0);
  const SequenceId b = AddWhole(7, 100);
  EXPECT_EQ(RowsOf(Step(), b).count, 0);
  const PlannedRows rows = RowsOf(Step(), b);
  EXPECT_EQ(rows.count, 7);
  EXPECT_TRUE(rows.samples);
  EXPECT_EQ(Get(a).num_output(), 1);
}

TEST_F(WholePromptTest, SharesAStepWithWhatFitsBesideIt) {
  Make(64, 10);
  AddWhole(6, 0);
  AddWhole(4, 100);
  EXPECT_EQ(Step().num_rows, 10);
}

TEST_F(WholePromptTest, IsChunkedOnlyBeyondTheBudgetOfAStep) {
  Make(64, 10);
  const SequenceId id = AddWhole(13, 0);
  EXPECT_EQ(RowsOf(Step(), id).count, 10);
  EXPECT_EQ(RowsOf(Step(), id).count, 3);
}

TEST_F(WholePromptTest, TakesTheRowsOfLowerDecodesWhenItIsTheHighestPrefill) {
  Make(64, 10);
  const SequenceId decoding = Add(Spec(2, 50));
  Step();
  const SequenceId urgent = AddWhole(10, 100, /*priority=*/-1);
  EXPECT_EQ(RowsOf(Step(), urgent).count, 0);  // admitted, when the decode had its row already
  const StepPlan plan = Step();
  EXPECT_EQ(RowsOf(plan, urgent).count, 10);
  EXPECT_EQ(RowsOf(plan, decoding).count, 0);
  EXPECT_EQ(RowsOf(Step(), decoding).count, 1);
}

TEST_F(WholePromptTest, WaitsForHigherDecodesToEnd) {
  Make(64, 10);
  const SequenceId decoding = Add(Spec(2, 5));
  Step();
  const SequenceId whole = AddWhole(10, 100);
  while (Get(decoding).num_output() < 5) EXPECT_EQ(RowsOf(Step(), whole).count, 0);
  EXPECT_EQ(RowsOf(Step(), whole).count, 10);
}

TEST_F(WholePromptTest, GetsNoRowAfterItsLast) {
  Make(64, 10);
  const SequenceId id = AddWhole(6, 0);
  Step();
  EXPECT_TRUE(Step().empty());
  EXPECT_EQ(Get(id).num_output(), 1);
}

TEST_F(WholePromptTest, RunsOnlyWhatIsNotCached) {
  Make(64, 10);
  AddWhole(9, 0);
  Step();
  const SequenceId b = AddWhole(9, 0);
  const PlannedRows rows = RowsOf(Step(), b);
  EXPECT_EQ(rows.first, 8);
  EXPECT_EQ(rows.count, 1);
}

TEST_F(WholePromptTest, TakesAllItsRowsOrNoneWhenBlocksAreShort) {
  Make(8, 17);
  // Leaves one row a step, so that the whole prompt is admitted and waits.
  const SequenceId chunked = Add(Spec(16, 16));
  const SequenceId whole = AddWhole(15, 100);
  Step();
  // The decoding sequence, which ranks higher, takes the last blocks.
  while (Get(chunked).num_output() < 16) {
    const int32_t count = RowsOf(Step(), whole).count;
    EXPECT_TRUE(count == 0 || count == 15) << count;
  }
  scheduler_->Remove(chunked);
  if (Get(whole).num_output() == 0) {
    EXPECT_EQ(RowsOf(Step(), whole).count, 15);
  }
}

}  // namespace
}  // namespace spade
