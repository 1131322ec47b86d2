#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "engine/schedule/scheduler.h"

namespace spade::testing {

inline constexpr int32_t kBlockSize = 4;

// `count` tokens, different for each `first`.
inline std::vector<TokenId> Prompt(int32_t count, TokenId first = 0) {
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

inline SequenceSpec Spec(int32_t prompt, int32_t max_tokens, TokenId first = 0) {
  SequenceSpec spec;
  spec.prompt = Prompt(prompt, first);
  spec.max_tokens = max_tokens;
  return spec;
}

// A scheduler with its pool, and an engine that runs each plan at once.
class SchedulerTest : public ::testing::Test {
 protected:
  void Make(int32_t num_blocks, int32_t max_rows, int32_t max_sequences = 8) {
    SchedulerOptions options;
    options.max_rows = max_rows;
    options.max_sequences = max_sequences;
    options.block_size = kBlockSize;
    options.num_stages = 2;
    Make(num_blocks, options);
  }
  void Make(int32_t num_blocks, const SchedulerOptions& options) {
    pool_.emplace(num_blocks);
    scheduler_.emplace(options, &*pool_, &hasher_);
  }

  SequenceId Add(SequenceSpec spec) { return scheduler_->Add(std::move(spec)).value(); }
  const Sequence& Get(SequenceId id) { return *scheduler_->Find(id); }

  // Plans, commits and appends token 1000 to each sequence that samples.
  StepPlan Step() {
    StepPlan plan = scheduler_->Plan();
    scheduler_->Commit(plan);
    for (const PlannedRows& rows : plan.rows) {
      if (rows.samples) scheduler_->Append(rows.sequence, 1000);
    }
    return plan;
  }
  // The rows of `id` in a plan; count 0 if it has none.
  static PlannedRows RowsOf(const StepPlan& plan, SequenceId id) {
    for (const PlannedRows& rows : plan.rows) {
      if (rows.sequence == id) return rows;
    }
    return {};
  }
  static std::vector<SequenceId> Order(const StepPlan& plan) {
    std::vector<SequenceId> ids;
    for (const PlannedRows& rows : plan.rows) ids.push_back(rows.sequence);
    return ids;
  }

  const BlockHasher hasher_{1, 2};
  std::optional<BlockPool> pool_;
  std::optional<Scheduler> scheduler_;
};

}  // namespace spade::testing
