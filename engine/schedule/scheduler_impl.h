#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/kv/block_pool.h"
#include "engine/kv/prefix_sightings.h"
#include "engine/schedule/scheduler.h"
#include "engine/schedule/tenant_shares.h"

namespace spade {

// Of one tenant.
struct ByPriority {
  bool operator()(const Sequence* a, const Sequence* b) const {
    if (a->spec.background != b->spec.background) return b->spec.background;
    if (a->spec.priority != b->spec.priority) return a->spec.priority < b->spec.priority;
    return a->arrival < b->arrival;
  }
};

inline bool Outranks(const Sequence& a, const Sequence& b) {
  if (a.spec.background != b.spec.background) return b.spec.background;
  if (a.tenant_rank != b.tenant_rank) return a.tenant_rank < b.tenant_rank;
  return ByPriority()(&a, &b);
}

struct ByRank {
  bool operator()(const Sequence* a, const Sequence* b) const { return Outranks(*a, *b); }
};

// All its output is drawn: it only waits for Remove.
inline bool Finished(const Sequence& sequence) {
  const int32_t output = sequence.num_output();
  return output > 0 && (sequence.spec.whole_prompt || output >= sequence.spec.max_tokens);
}

inline bool CanRun(const Sequence& sequence) {
  return sequence.pending() > 0 && !sequence.awaits_token && !Finished(sequence);
}

// Of a sequence that can run: whether it gets its row before any prefill.
inline bool Decodes(const Sequence& sequence) {
  return sequence.pending() == 1 && !sequence.spec.whole_prompt;
}

// Rows a decoding sequence may bring into a step: its own and those that go deeper with it.
inline int32_t DecodeRows(const Sequence& sequence) { return 1 + sequence.num_parked(); }

inline bool PromptComplete(const Sequence& sequence) {
  return sequence.num_output() > 0 || sequence.frontier.complete() >= sequence.num_prompt();
}

class Scheduler::Impl {
 public:
  Impl(const SchedulerOptions& options, BlockPool* pool, const BlockHasher* hasher);

  absl::StatusOr<SequenceId> Add(SequenceSpec spec);
  void Remove(SequenceId id);
  const StepPlan& Plan();
  void Commit(std::span<const RanRows> rows);
  void Commit(const StepPlan& plan);
  void Append(SequenceId id, TokenId token, bool is_draft);
  void ResolveDrafts(SequenceId id, int32_t num_accepted);

  const Sequence* Find(SequenceId id) const {
    const auto found = sequences_.find(id);
    return found == sequences_.end() ? nullptr : &found->second;
  }
  size_t num_waiting() const { return num_waiting_; }
  size_t num_running() const { return running_.size() - ended_.size(); }

 private:
  using WaitingSet = std::set<Sequence*, ByPriority>;
  struct Line {  // of one tenant
    WaitingSet waiting;
    WaitingSet::iterator next;  // that this pass has yet to look at
  };

  // What one Plan keeps track of while it goes through the running sequences in rank order.
  struct Pass {
    int32_t budget = 0;         // rows left
    int32_t held_rows = 0;      // kept out of the budget for plan_.held
    int32_t decodes_ahead = 0;  // rows that decoding sequences further on will take
    int64_t demand = 0;         // blocks that running sequences need for the tokens they have
    int32_t scratch_used = 0;   // blocks of the scratch, by this step's rows
    int64_t scratch_users = 0;  // running sequences that need none of the pool's blocks
    bool first_prefill = true;  // no prefill was looked at yet
    bool admitting = true;
  };

  int32_t BlocksFor(int32_t positions) const {
    return positions / options_.block_size + (positions % options_.block_size != 0);
  }
  bool UsesCache(const SequenceSpec& spec) const {
    return options_.prefix_cache && spec.use_prefix_cache;
  }
  bool UsesCache(const Sequence& sequence) const { return UsesCache(sequence.spec); }
  void CommitRows(const RanRows& rows);
  static void DropDrafts(Sequence& sequence, int32_t num_kept);
  int64_t Demand(const Sequence& sequence) const;
  Sequence& Known(SequenceId id);

  void SweepEnded();
  void BeginPass();
  void PlanDecode(Sequence& sequence);
  void PlanPrefill(Sequence& sequence);
  void PassOverHeld();
  int32_t RowsWanted(const Sequence& sequence) const;
  size_t Admit(const Sequence* limit);
  bool TryAdmit(Sequence& sequence);
  void RankTenants();
  Line& LineOf(const Sequence& sequence) { return lines_[static_cast<size_t>(sequence.tenant)]; }
  void Enqueue(Sequence* sequence);
  Sequence* NextWaiting();
  bool WaitsForSibling(const Sequence& sequence) const;

  bool FitsScratch(const SequenceSpec& spec) const;
  int32_t Reserve(Sequence& sequence, int32_t rows);
  int32_t ReserveScratch(Sequence& sequence, int32_t rows);
  void PreemptLowest();
  void ForgetHeld(Sequence& sequence);
  void ReleaseBlocks(Sequence& sequence);
  void ShareCachedPrefix(Sequence& sequence);
  bool FillsCache(Sequence& sequence);
  void PublishFullBlocks(Sequence& sequence);
  const BlockHash& HashOf(Sequence& sequence, size_t block);

  const SchedulerOptions options_;
  BlockPool* const pool_;
  const BlockHasher* const hasher_;
  size_t max_running_ = 0;

  std::unordered_map<SequenceId, Sequence> sequences_;
  std::vector<Sequence*> running_;  // by rank: a vector, because every Plan goes through all of it
  std::vector<std::unordered_map<SequenceId, Sequence>::node_type> ended_;  // still in running_
  TenantShares tenants_;
  std::vector<Line> lines_;  // by TenantIndex
  size_t num_waiting_ = 0;
  PrefixSightings sightings_;
  uint64_t num_added_ = 0;

  StepPlan plan_;
  std::vector<PlannedRows> prefill_;  // of the plan in the making
  Pass pass_;
};

}  // namespace spade
