#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "engine/schedule/scheduler.h"

namespace spade {
namespace {

uint64_t Mix(uint64_t state, uint64_t value) {
  state = (state ^ value) * 0x9E3779B97F4A7C15u;
  return state ^ (state >> 29);
}

// A model whose "keys and values" at a position are a hash of all tokens up to it, kept in real
// blocks, and whose next token is a function of that. Wrong sharing, a lost block, a token drawn
// twice or skipped all change the output.
class HashModel {
 public:
  HashModel(int32_t num_blocks, int32_t block_size)
      : block_size_(block_size), slots_(static_cast<size_t>(num_blocks * block_size)) {}

  uint64_t Run(const Sequence& sequence, int32_t position) {
    const uint64_t before = position == 0 ? 1 : Slot(sequence, position - 1);
    const auto token = static_cast<uint64_t>(sequence.tokens[static_cast<size_t>(position)]);
    return Slot(sequence, position) = Mix(before, token);
  }
  static TokenId NextToken(uint64_t state) { return static_cast<TokenId>(state >> 40 & 3); }

  // What the model gives with no scheduler in between.
  static std::vector<TokenId> Generate(const SequenceSpec& spec) {
    std::vector<TokenId> tokens = spec.prompt;
    uint64_t state = 1;
    for (size_t i = 0; tokens.size() < spec.prompt.size() + static_cast<size_t>(spec.max_tokens);
         ++i) {
      state = Mix(state, static_cast<uint64_t>(tokens[i]));
      if (i + 1 == tokens.size()) tokens.push_back(NextToken(state));
    }
    return tokens;
  }

 private:
  uint64_t& Slot(const Sequence& sequence, int32_t position) {
    const BlockId block = sequence.blocks.at(static_cast<size_t>(position / block_size_));
    return slots_[static_cast<size_t>(block * block_size_ + position % block_size_)];
  }

  int32_t block_size_;
  std::vector<uint64_t> slots_;
};

struct Traffic {
  uint32_t seed = 0;
  int32_t num_blocks = 8;
  int32_t max_rows = 8;
  int32_t max_sequences = 4;
  int32_t num_requests = 400;
  int32_t max_prompt = 20;
  int32_t max_tokens = 10;
  int32_t cancel_percent = 0;
};

class TrafficRunner {
 public:
  explicit TrafficRunner(const Traffic& traffic)
      : traffic_(traffic),
        random_(traffic.seed),
        pool_(traffic.num_blocks),
        scheduler_(Options(traffic), &pool_, &hasher_),
        model_(traffic.num_blocks, kBlockSize) {}

  // Runs all requests to their end; fails where anything is wrong.
  void Run() {
    const int64_t limit = int64_t{traffic_.num_requests} * 500;
    while (added_ < traffic_.num_requests || !expected_.empty()) {
      ASSERT_LT(steps_++, limit) << "livelock";
      while (added_ < traffic_.num_requests && expected_.size() < 12 && random_() % 3 != 0) Add();
      Step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    EXPECT_EQ(pool_.num_in_use(), 0);
    EXPECT_EQ(scheduler_.num_running() + scheduler_.num_waiting(), 0);
  }

  int64_t num_preemptions() const { return num_preemptions_; }
  int64_t num_steps() const { return steps_; }

 private:
  static constexpr int32_t kBlockSize = 4;

  static SchedulerOptions Options(const Traffic& traffic) {
    return {.max_rows = traffic.max_rows,
            .max_sequences = traffic.max_sequences,
            .block_size = kBlockSize,
            .num_stages = 3};
  }
  int32_t Random(int32_t count) { return static_cast<int32_t>(random_() % count); }

  void Add() {
    SequenceSpec spec;
    // Few distinct tokens and a common start: prefixes meet often.
    const int32_t length = 1 + Random(traffic_.max_prompt);
    for (int32_t i = 0; i < length; ++i)
      spec.prompt.push_back(i < 8 ? Random(2) * (i == 7) : Random(2));
    spec.max_tokens = 1 + Random(traffic_.max_tokens);
    spec.priority = Random(3);
    spec.use_prefix_cache = Random(8) != 0;
    if (!expected_.empty() && Random(4) == 0) spec.share_prefix_of = expected_.rbegin()->first;
    if (Random(5) == 0) {
      spec.whole_prompt = true;
      spec.max_tokens = 1;
    }
    const std::vector<TokenId> expected = HashModel::Generate(spec);
    const auto id = scheduler_.Add(std::move(spec));
    ++added_;
    if (!id.ok()) return;  // larger than the pool
    expected_[*id] = expected;
  }

  void Step() {
    const StepPlan& plan = scheduler_.Plan();
    num_preemptions_ += static_cast<int64_t>(plan.preempted.size());
    ASSERT_LE(plan.num_rows, traffic_.max_rows);
    ASSERT_LE(scheduler_.num_running(), traffic_.max_sequences);
    // Something always moves, but for siblings, whose turn comes with the sequence they wait for.
    ASSERT_FALSE(plan.empty() && !expected_.empty() && scheduler_.num_running() > 0);
    CheckWrites(plan);

    std::vector<std::pair<SequenceId, TokenId>> drawn;
    int32_t rows_run = 0;
    for (const PlannedRows& rows : plan.rows) {
      const Sequence& sequence = *scheduler_.Find(rows.sequence);
      ASSERT_EQ(sequence.phase, SequencePhase::kRunning);
      uint64_t state = 0;
      for (int32_t i = 0; i < rows.count; ++i) state = model_.Run(sequence, rows.first + i);
      rows_run += rows.count;
      ASSERT_EQ(rows.samples, rows.first + rows.count == sequence.length());
      if (rows.samples) drawn.emplace_back(rows.sequence, HashModel::NextToken(state));
    }
    ASSERT_EQ(rows_run, plan.num_rows);
    scheduler_.Commit(plan);
    for (const auto& [id, token] : drawn) Draw(id, token);
    if (!expected_.empty() && Random(100) < traffic_.cancel_percent) {
      Remove(std::next(expected_.begin(), Random(static_cast<int32_t>(expected_.size())))->first);
    }
  }

  void Draw(SequenceId id, TokenId token) {
    scheduler_.Append(id, token);
    const Sequence& sequence = *scheduler_.Find(id);
    if (sequence.num_output() < sequence.spec.max_tokens) return;
    EXPECT_EQ(sequence.tokens, expected_.at(id));
    Remove(id);
  }

  void Remove(SequenceId id) {
    scheduler_.Remove(id);
    expected_.erase(id);
  }

  // No row is written to a block that another sequence holds, and blocks in use are those held.
  void CheckWrites(const StepPlan& plan) {
    std::map<BlockId, int> holders;
    for (const auto& [id, tokens] : expected_) {
      const Sequence& sequence = *scheduler_.Find(id);
      for (const BlockId block : sequence.blocks) ++holders[block];
    }
    ASSERT_EQ(static_cast<int32_t>(holders.size()), pool_.num_in_use());
    for (const PlannedRows& rows : plan.rows) {
      const Sequence& sequence = *scheduler_.Find(rows.sequence);
      for (int32_t i = rows.first; i < rows.first + rows.count; ++i) {
        ASSERT_EQ(holders.at(sequence.blocks.at(static_cast<size_t>(i / kBlockSize))), 1);
      }
    }
  }

  const Traffic traffic_;
  std::mt19937 random_;
  const BlockHasher hasher_{3, 4};
  BlockPool pool_;
  Scheduler scheduler_;
  HashModel model_;
  std::map<SequenceId, std::vector<TokenId>> expected_;  // all tokens, of those not removed
  int32_t added_ = 0;
  int64_t steps_ = 0;
  int64_t num_preemptions_ = 0;
};

class SchedulerTrafficTest : public ::testing::TestWithParam<Traffic> {};

TEST_P(SchedulerTrafficTest, EverySequenceEndsWithTheModelsTokensAndNoBlockLeaks) {
  TrafficRunner runner(GetParam());
  runner.Run();
}

INSTANTIATE_TEST_SUITE_P(
    Pools, SchedulerTrafficTest,
    ::testing::Values(Traffic{.seed = 1, .num_blocks = 8},
                      Traffic{.seed = 2, .num_blocks = 9, .max_rows = 3},
                      Traffic{.seed = 3, .num_blocks = 10, .max_rows = 1},
                      Traffic{.seed = 4, .num_blocks = 12, .max_rows = 64, .max_sequences = 12},
                      Traffic{.seed = 5, .num_blocks = 16, .max_rows = 16, .max_sequences = 12},
                      Traffic{.seed = 6, .num_blocks = 200, .max_rows = 16, .max_sequences = 12},
                      Traffic{.seed = 7, .num_blocks = 8, .max_rows = 24, .cancel_percent = 10},
                      Traffic{.seed = 8, .num_blocks = 1, .max_prompt = 3, .max_tokens = 4}));

TEST(SchedulerTrafficTest, ManyStepsInATightPool) {
  TrafficRunner runner({.seed = 99,
                        .num_blocks = 12,
                        .max_rows = 6,
                        .max_sequences = 8,
                        .num_requests = 40000,
                        .max_tokens = 24});
  runner.Run();
  EXPECT_GT(runner.num_steps(), 100000);
  EXPECT_GT(runner.num_preemptions(), 1000);
}

}  // namespace
}  // namespace spade
