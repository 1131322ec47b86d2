#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace spade {
namespace {

bool Outranks(const Sequence& a, const Sequence& b) {
  if (a.spec.priority != b.spec.priority) return a.spec.priority < b.spec.priority;
  return a.arrival < b.arrival;
}

struct ByRank {
  bool operator()(const Sequence* a, const Sequence* b) const { return Outranks(*a, *b); }
};

// All its output is drawn: it only waits for Remove.
bool Finished(const Sequence& sequence) {
  const int32_t output = sequence.num_output();
  return output > 0 && (sequence.spec.whole_prompt || output >= sequence.spec.max_tokens);
}

bool CanRun(const Sequence& sequence) {
  return sequence.pending() > 0 && !sequence.awaits_token && !Finished(sequence);
}

// Of a sequence that can run: whether it gets its row before any prefill.
bool Decodes(const Sequence& sequence) {
  return sequence.pending() == 1 && !sequence.spec.whole_prompt;
}

bool PromptComplete(const Sequence& sequence) {
  return sequence.num_output() > 0 || sequence.frontier.complete() >= sequence.num_prompt();
}

}  // namespace

class Scheduler::Impl {
 public:
  Impl(const SchedulerOptions& options, BlockPool* pool, const BlockHasher* hasher)
      : options_(options), pool_(pool), hasher_(hasher) {
    SPADE_CHECK(options.max_rows > 0 && options.max_sequences > 0);
    SPADE_CHECK(options.block_size > 0 && options.num_stages > 0);
    // So that each running sequence can have a row in each step.
    max_running_ = static_cast<size_t>(std::min(options.max_sequences, options.max_rows));
    running_.reserve(max_running_);
  }

  absl::StatusOr<SequenceId> Add(SequenceSpec spec);
  void Remove(SequenceId id);
  const StepPlan& Plan();
  void Commit(const StepPlan& plan);
  void Append(SequenceId id, TokenId token);

  const Sequence* Find(SequenceId id) const {
    const auto found = sequences_.find(id);
    return found == sequences_.end() ? nullptr : &found->second;
  }
  size_t num_waiting() const { return waiting_.size(); }
  size_t num_running() const { return running_.size(); }

 private:
  using WaitingSet = std::set<Sequence*, ByRank>;

  // What one Plan keeps track of while it goes through the running sequences in rank order.
  struct Pass {
    int32_t budget = 0;         // rows left
    int32_t decodes_ahead = 0;  // decode rows that sequences further on will take
    int64_t demand = 0;         // blocks that running sequences need for the tokens they have
    bool first_prefill = true;  // no prefill was looked at yet
    bool admitting = true;
    WaitingSet::iterator next_waiting;
  };

  int32_t BlocksFor(int32_t positions) const {
    return positions / options_.block_size + (positions % options_.block_size != 0);
  }
  bool UsesCache(const Sequence& sequence) const {
    return options_.prefix_cache && sequence.spec.use_prefix_cache;
  }
  int64_t Demand(const Sequence& sequence) const;
  Sequence& Known(SequenceId id);

  void BeginPass();
  void PlanDecode(Sequence& sequence);
  void PlanPrefill(Sequence& sequence);
  int32_t RowsWanted(const Sequence& sequence) const;
  size_t Admit(const Sequence* limit);
  bool TryAdmit(Sequence& sequence);
  bool WaitsForSibling(const Sequence& sequence) const;

  int32_t Reserve(Sequence& sequence, int32_t rows);
  void PreemptLowest();
  void ReleaseBlocks(Sequence& sequence);
  void ShareCachedPrefix(Sequence& sequence);
  void PublishFullBlocks(Sequence& sequence);
  const BlockHash& HashOf(Sequence& sequence, size_t block);

  const SchedulerOptions options_;
  BlockPool* const pool_;
  const BlockHasher* const hasher_;
  size_t max_running_ = 0;

  std::unordered_map<SequenceId, Sequence> sequences_;
  std::vector<Sequence*> running_;  // by rank: a vector, because every Plan goes through all of it
  WaitingSet waiting_;
  uint64_t num_added_ = 0;

  StepPlan plan_;
  std::vector<PlannedRows> prefill_;  // of the plan in the making
  Pass pass_;
};

// ---- Life of a sequence

absl::StatusOr<SequenceId> Scheduler::Impl::Add(SequenceSpec spec) {
  if (spec.prompt.empty()) return absl::InvalidArgumentError("the prompt is empty");
  if (spec.max_tokens < 0) {
    return absl::InvalidArgumentError(absl::StrCat("max_tokens is negative: ", spec.max_tokens));
  }
  const int64_t total = static_cast<int64_t>(spec.prompt.size()) + spec.max_tokens;
  const std::string asked = absl::StrCat("prompt (", spec.prompt.size(), " tokens) + max_tokens (",
                                         spec.max_tokens, ") = ", total);
  if (options_.max_context > 0 && total > options_.max_context) {
    return absl::InvalidArgumentError(
        absl::StrCat(asked, " exceeds the context of ", options_.max_context,
                     " tokens: shorten the prompt or lower max_tokens"));
  }
  const int64_t capacity = int64_t{pool_->num_blocks()} * options_.block_size;
  if (total > capacity) {
    return absl::InvalidArgumentError(absl::StrCat(
        asked, " exceeds the KV cache of ", capacity,
        " tokens: shorten the prompt, lower max_tokens or give the server a larger --kv-memory"));
  }
  const SequenceId id = ++num_added_;
  Sequence& sequence = sequences_[id];
  sequence.id = id;
  sequence.arrival = id;
  sequence.spec = std::move(spec);
  sequence.tokens = sequence.spec.prompt;
  sequence.frontier = KvFrontier(options_.num_stages);
  waiting_.insert(&sequence);
  return id;
}

void Scheduler::Impl::Remove(SequenceId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  Sequence* const sequence = &found->second;
  if (sequence->phase == SequencePhase::kWaiting) {
    waiting_.erase(sequence);
  } else {
    ReleaseBlocks(*sequence);
    running_.erase(std::lower_bound(running_.begin(), running_.end(), sequence, ByRank{}));
  }
  sequences_.erase(found);
}

void Scheduler::Impl::Commit(const StepPlan& plan) {
  for (const PlannedRows& rows : plan.rows) {
    Sequence& sequence = Known(rows.sequence);
    SPADE_CHECK(sequence.frontier.complete() == rows.first);
    for (int32_t stage = 0; stage < options_.num_stages; ++stage) {
      sequence.frontier.Commit(stage, rows.count);
    }
    sequence.awaits_token = rows.samples;
    if (UsesCache(sequence)) PublishFullBlocks(sequence);
  }
}

void Scheduler::Impl::Append(SequenceId id, TokenId token) {
  Sequence& sequence = Known(id);
  SPADE_CHECK(sequence.awaits_token);
  sequence.awaits_token = false;
  sequence.tokens.push_back(token);
}

Sequence& Scheduler::Impl::Known(SequenceId id) {
  const auto found = sequences_.find(id);
  SPADE_CHECK(found != sequences_.end());
  return found->second;
}

// ---- The plan of a step

const StepPlan& Scheduler::Impl::Plan() {
  BeginPass();
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (!CanRun(sequence)) continue;
    if (Decodes(sequence)) {
      --pass_.decodes_ahead;
      PlanDecode(sequence);
    } else {
      // Those admitted go before this one in running_.
      i += Admit(/*limit=*/&sequence);
      PlanPrefill(sequence);
    }
  }
  Admit(/*limit=*/nullptr);
  plan_.rows.insert(plan_.rows.end(), prefill_.begin(), prefill_.end());
  plan_.num_rows = options_.max_rows - pass_.budget;
  return plan_;
}

void Scheduler::Impl::BeginPass() {
  plan_.rows.clear();
  plan_.preempted.clear();
  plan_.admitted.clear();
  prefill_.clear();
  pass_ = Pass{.budget = options_.max_rows, .next_waiting = waiting_.begin()};
  for (const Sequence* sequence : running_) {
    if (!CanRun(*sequence)) continue;
    pass_.decodes_ahead += Decodes(*sequence);
    pass_.demand += Demand(*sequence);
  }
}

void Scheduler::Impl::PlanDecode(Sequence& sequence) {
  // No budget: a whole prompt of higher rank took this step.
  if (pass_.budget == 0 || Reserve(sequence, 1) == 0) return;
  plan_.rows.push_back({sequence.id, sequence.frontier.complete(), 1, /*samples=*/true});
  --pass_.budget;
}

void Scheduler::Impl::PlanPrefill(Sequence& sequence) {
  const int32_t wanted = RowsWanted(sequence);
  pass_.first_prefill = false;
  if (wanted <= 0) return;
  const int32_t count = Reserve(sequence, wanted);
  if (count == 0) return;
  const int32_t first = sequence.frontier.complete();
  prefill_.push_back({sequence.id, first, count, first + count == sequence.length()});
  pass_.budget -= count;
}

// The rows that a prefill may take of this step, blocks aside.
int32_t Scheduler::Impl::RowsWanted(const Sequence& sequence) const {
  const int32_t pending = sequence.pending();
  const int32_t beside_decodes = pass_.budget - pass_.decodes_ahead;
  if (!sequence.spec.whole_prompt || pending > options_.max_rows) {
    return std::min(pending, beside_decodes);
  }
  // The highest-ranked prefill may displace decodes, all of which rank below it; those above have
  // their rows already, and there is an end to them. So it does not starve.
  const int32_t limit = pass_.first_prefill ? pass_.budget : beside_decodes;
  return pending <= limit ? pending : 0;
}

// Admits waiting sequences that outrank `limit` (null: all), in rank order, while there is room.
// Returns how many.
size_t Scheduler::Impl::Admit(const Sequence* limit) {
  size_t num_admitted = 0;
  auto& next = pass_.next_waiting;
  while (pass_.admitting && next != waiting_.end() &&
         (limit == nullptr || Outranks(**next, *limit))) {
    Sequence& sequence = **next;
    if (!CanRun(sequence) || WaitsForSibling(sequence)) {
      ++next;
      continue;
    }
    const bool has_place = running_.size() < max_running_ && pass_.budget > pass_.decodes_ahead &&
                           plan_.preempted.empty();
    if (!has_place || !TryAdmit(sequence)) {
      pass_.admitting = false;
      break;
    }
    next = waiting_.erase(next);
    running_.insert(std::lower_bound(running_.begin(), running_.end(), &sequence, ByRank{}),
                    &sequence);
    ++num_admitted;
    const int32_t budget = pass_.budget;
    PlanPrefill(sequence);
    // A whole prompt that does not fit this step goes first among the prefills of the next.
    if (pass_.budget == budget) pass_.admitting = false;
  }
  return num_admitted;
}

// Fails, changing nothing, where there are too few blocks.
bool Scheduler::Impl::TryAdmit(Sequence& sequence) {
  ShareCachedPrefix(sequence);
  const int64_t demand = Demand(sequence);
  const int64_t spared = pass_.demand + static_cast<int64_t>(running_.size());
  if (demand > pool_->num_available() - spared) {
    // With nothing running all blocks are available, and Add saw to it that they suffice.
    SPADE_CHECK(!running_.empty());
    ReleaseBlocks(sequence);
    return false;
  }
  // From here on, decoding allocates nothing.
  const int32_t longest = sequence.num_prompt() + sequence.spec.max_tokens;
  sequence.tokens.reserve(static_cast<size_t>(longest));
  sequence.blocks.reserve(static_cast<size_t>(BlocksFor(longest)));
  if (UsesCache(sequence)) sequence.hashes.reserve(static_cast<size_t>(BlocksFor(longest)));
  if (sequence.num_preemptions == 0) {
    sequence.cached_tokens = std::min(sequence.frontier.complete(), sequence.num_prompt());
  }
  sequence.phase = SequencePhase::kRunning;
  plan_.admitted.push_back(sequence.id);
  pass_.demand += demand;
  return true;
}

bool Scheduler::Impl::WaitsForSibling(const Sequence& sequence) const {
  if (sequence.spec.share_prefix_of == 0 || !UsesCache(sequence)) return false;
  const Sequence* sibling = Find(sequence.spec.share_prefix_of);
  return sibling != nullptr && !PromptComplete(*sibling);
}

// ---- Blocks

// Blocks still to be allocated before all the sequence's tokens can run.
int64_t Scheduler::Impl::Demand(const Sequence& sequence) const {
  return BlocksFor(sequence.length()) - static_cast<int64_t>(sequence.blocks.size());
}

// Allocates blocks for the next `rows` rows, preempting lower ranks where there are none. Returns
// the rows that have their block: fewer only when no rank is lower, and for a whole prompt that
// fits one step all or 0; otherwise it preempts no more than a first row needs.
int32_t Scheduler::Impl::Reserve(Sequence& sequence, int32_t rows) {
  const bool all = sequence.spec.whole_prompt && sequence.pending() <= options_.max_rows;
  const int32_t start = sequence.frontier.complete();
  const auto rows_covered = [&] {
    const int64_t slots = static_cast<int64_t>(sequence.blocks.size()) * options_.block_size;
    return static_cast<int32_t>(std::min<int64_t>(slots - start, rows));
  };
  while (rows_covered() < rows) {
    if (const std::optional<BlockId> block = pool_->Allocate()) {
      sequence.blocks.push_back(*block);
      --pass_.demand;
    } else if ((rows_covered() > 0 && !all) || running_.back() == &sequence) {
      break;
    } else {
      PreemptLowest();
    }
  }
  return all && rows_covered() < rows ? 0 : rows_covered();
}

void Scheduler::Impl::PreemptLowest() {
  Sequence* const lowest = running_.back();
  if (CanRun(*lowest)) {
    pass_.demand -= Demand(*lowest);
    pass_.decodes_ahead -= Decodes(*lowest);
  }
  running_.pop_back();
  ReleaseBlocks(*lowest);
  lowest->phase = SequencePhase::kWaiting;
  ++lowest->num_preemptions;
  waiting_.insert(lowest);
  plan_.preempted.push_back(lowest->id);
}

void Scheduler::Impl::ReleaseBlocks(Sequence& sequence) {
  for (auto block = sequence.blocks.rbegin(); block != sequence.blocks.rend(); ++block) {
    pool_->Release(*block);
  }
  sequence.blocks.clear();
  sequence.num_published = 0;
  sequence.frontier.Truncate(0);
}

// Takes the cached blocks that the sequence's tokens begin with. Never one with the last token:
// its row must run, and nothing is written to a shared block.
void Scheduler::Impl::ShareCachedPrefix(Sequence& sequence) {
  if (!UsesCache(sequence)) return;
  const auto limit = static_cast<size_t>((sequence.length() - 1) / options_.block_size);
  while (sequence.blocks.size() < limit) {
    const std::optional<BlockId> block = pool_->Find(HashOf(sequence, sequence.blocks.size()));
    if (!block.has_value()) break;
    sequence.blocks.push_back(*block);
  }
  sequence.num_published = static_cast<int32_t>(sequence.blocks.size());
  for (int32_t stage = 0; stage < options_.num_stages; ++stage) {
    sequence.frontier.Commit(stage, sequence.num_published * options_.block_size);
  }
}

void Scheduler::Impl::PublishFullBlocks(Sequence& sequence) {
  const int32_t full = sequence.frontier.complete() / options_.block_size;
  for (; sequence.num_published < full; ++sequence.num_published) {
    const auto block = static_cast<size_t>(sequence.num_published);
    pool_->Publish(sequence.blocks[block], HashOf(sequence, block));
  }
}

const BlockHash& Scheduler::Impl::HashOf(Sequence& sequence, size_t block) {
  const auto size = static_cast<size_t>(options_.block_size);
  while (sequence.hashes.size() <= block) {
    const BlockHash parent =
        sequence.hashes.empty() ? hasher_->Root(sequence.spec.cache_salt) : sequence.hashes.back();
    const auto tokens = std::span(sequence.tokens).subspan(sequence.hashes.size() * size, size);
    sequence.hashes.push_back(hasher_->Next(parent, tokens));
  }
  return sequence.hashes[block];
}

// ---- Interface

Scheduler::Scheduler(const SchedulerOptions& options, BlockPool* pool, const BlockHasher* hasher)
    : impl_(std::make_unique<Impl>(options, pool, hasher)) {}
Scheduler::~Scheduler() = default;

absl::StatusOr<SequenceId> Scheduler::Add(SequenceSpec spec) { return impl_->Add(std::move(spec)); }
void Scheduler::Remove(SequenceId id) { impl_->Remove(id); }
const StepPlan& Scheduler::Plan() { return impl_->Plan(); }
void Scheduler::Commit(const StepPlan& plan) { impl_->Commit(plan); }
void Scheduler::Append(SequenceId id, TokenId token) { impl_->Append(id, token); }
const Sequence* Scheduler::Find(SequenceId id) const { return impl_->Find(id); }
int32_t Scheduler::num_waiting() const { return static_cast<int32_t>(impl_->num_waiting()); }
int32_t Scheduler::num_running() const { return static_cast<int32_t>(impl_->num_running()); }

}  // namespace spade
