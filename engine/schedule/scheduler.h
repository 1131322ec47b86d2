#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/schedule/sequence.h"

namespace spade {

struct SchedulerOptions {
  int32_t max_rows = 512;      // rows of one step: the token budget
  int32_t max_sequences = 64;  // running at once; no more than max_rows ever run
  int32_t block_size = 16;
  int32_t num_stages = 1;
  int32_t max_context = 0;  // prompt + output positions a sequence may have; 0: what the pool holds
  bool prefix_cache = true;
  // Blocks of the scratch (KvCache) of one step; 0: none.
  int32_t scratch_blocks = 0;
  TenantWeights tenant_weights = {};
  int32_t max_tenants = 256;  // told apart; see TenantShares
};

// Rows of a sequence that ran: its positions below `end` are written at the first `depth` stages.
struct RanRows {
  SequenceId sequence = 0;
  int32_t end = 0;
  int32_t depth = 0;
  // The last of them, the sequence's newest, waits there: in a later step it runs deeper stages.
  bool is_held = false;
};

// Consecutive rows of one sequence in a step.
struct PlannedRows {
  SequenceId sequence = 0;
  int32_t first = 0;  // position of the first row
  int32_t count = 0;
  bool samples = false;  // the last row is the sequence's last token: a token is drawn after it
};

// One step: plain data. Preempted and admitted sequences are already moved when Plan returns.
struct StepPlan {
  std::vector<PlannedRows> rows;  // decode rows first, then prefill, by rank
  std::vector<SequenceId> preempted;
  std::vector<SequenceId> admitted;  // waiting -> running in this step
  // Running, but without their next token: their last row waits at an exit (HoldPolicy). By rank.
  std::vector<SequenceId> held;
  int32_t num_rows = 0;       // with the parked and held rows that may go with them
  int64_t num_looked_at = 0;  // sequences, to make the plan: what it cost

  bool empty() const { return rows.empty() && held.empty(); }
};

// Continuous batching: decides which rows run next. Sees ids, counts and lengths only: no tensor,
// clock, metric or thread. Rank: the tenant that was served least for its weight, as of the step's
// begin (TenantShares), then priority, then arrival. With one tenant, that is priority and arrival.
//
// - Every running sequence that can decode gets its row each step, and room for its parked rows
//   beside it, as held rows have with theirs; what is left of the budget goes to prefill chunks and
//   to the admission of waiting sequences, in rank order. One is admitted while there is room for
//   all its tokens beside what the running ones still need, and for one block more for each of
//   those: so that it is not preempted soon after.
// - A whole_prompt sequence gets all its rows in one step, or waits. When it is the highest-ranked
//   prefill, it may take the rows of decoding sequences that rank below it, for that step. Where no
//   prefix cache wants its blocks, and it fits one step, it takes blocks of the scratch, not of the
//   pool: each layer overwrites what the one before it left there.
// - When blocks run out, the lowest-ranked running sequence is preempted: its blocks are released
//   and it waits, to be recomputed from its tokens (prompt and output) later. The lowest-ranked
//   itself keeps its blocks and pauses.
// - The highest-ranked running sequence always makes progress: Add refuses what could never fit.
//
// Not thread-safe: owned by the engine's loop.
class Scheduler {
 public:
  // `pool` (of no other user) and `hasher` outlive this.
  Scheduler(const SchedulerOptions& options, BlockPool* pool, const BlockHasher* hasher);
  ~Scheduler();

  // INVALID_ARGUMENT where the prompt is empty, max_tokens negative, or prompt + max_tokens exceeds
  // max_context or the whole pool.
  absl::StatusOr<SequenceId> Add(SequenceSpec spec);
  // Releases everything the sequence holds; no effect if it is unknown. Between steps only.
  void Remove(SequenceId id);

  // The next step; valid until the next call. Allocates blocks for the planned rows; leaves lengths
  // unchanged, so that a step that failed can be planned again.
  // O(running + waiting looked at); allocates no memory in steady decode.
  const StepPlan& Plan();
  // Keys and values of the rows exist: lengths grow; blocks that are full and complete at every
  // stage are published. A sequence may be named twice, the deeper rows first.
  void Commit(std::span<const RanRows> rows);
  // All planned rows ran at every stage.
  void Commit(const StepPlan& plan);
  // A token was drawn after the sequence's last row, or drafted there: it is used like any other
  // until ResolveDrafts. The sequence may have been preempted since.
  void Append(SequenceId id, TokenId token);
  void AppendDraft(SequenceId id, TokenId token);
  // Of the drafts, all of whose rows ran to full depth, the first `num_accepted` are tokens from
  // now on; the others are forgotten, with what was written for them. Before Commit.
  void ResolveDrafts(SequenceId id, int32_t num_accepted);

  const Sequence* Find(SequenceId id) const;  // nullptr: unknown
  int32_t num_waiting() const;
  int32_t num_running() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spade
