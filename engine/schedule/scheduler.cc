#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/schedule/scheduler_impl.h"
#include "kernels/check.h"

namespace spade {

Scheduler::Impl::Impl(const SchedulerOptions& options, BlockPool* pool, const BlockHasher* hasher)
    : options_(options),
      pool_(pool),
      hasher_(hasher),
      tenants_(options.tenant_weights, options.max_tenants) {
  SPADE_CHECK(options.max_rows > 0 && options.max_sequences > 0);
  SPADE_CHECK(options.block_size > 0 && options.num_stages > 0);
  // So that each running sequence can have a row in each step.
  max_running_ = static_cast<size_t>(std::min(options.max_sequences, options.max_rows));
  running_.reserve(max_running_);
  ended_.reserve(max_running_);
  prefill_.reserve(max_running_);
  plan_.rows.reserve(max_running_);
  plan_.admitted.reserve(max_running_);
  plan_.preempted.reserve(max_running_);
  plan_.held.reserve(max_running_);
}

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
  const bool uses_scratch = FitsScratch(spec);
  if (!uses_scratch && total > capacity) {
    return absl::InvalidArgumentError(absl::StrCat(
        asked, " exceeds the KV cache of ", capacity,
        " tokens: shorten the prompt, lower max_tokens or give the server a larger --kv-memory"));
  }
  // Should memory run out, on the way or at its end, nothing of it stays.
  const SequenceId id = ++num_added_;
  Sequence sequence;
  sequence.id = id;
  sequence.arrival = id;
  sequence.spec = std::move(spec);
  sequence.uses_scratch = uses_scratch;
  sequence.tokens = sequence.spec.prompt;
  sequence.frontier = KvFrontier(options_.num_stages);
  sequence.tenant = tenants_.Enter(sequence.spec.tenant);
  absl::Cleanup leave = [&, tenant = sequence.tenant] {
    tenants_.Leave(tenant, /*was_waiting=*/true);
  };
  const auto place = sequences_.emplace(id, std::move(sequence)).first;
  absl::Cleanup forget = [&] { sequences_.erase(place); };
  Enqueue(&place->second);
  std::move(forget).Cancel();
  std::move(leave).Cancel();
  return id;
}

void Scheduler::Impl::Remove(SequenceId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  Sequence* const sequence = &found->second;
  const bool waits = sequence->phase == SequencePhase::kWaiting;
  if (waits) {
    LineOf(*sequence).waiting.erase(sequence);
    --num_waiting_;
  } else {
    ReleaseBlocks(*sequence);
    sequence->phase = SequencePhase::kEnded;
  }
  tenants_.Leave(sequence->tenant, waits);
  auto node = sequences_.extract(found);
  if (node.mapped().phase == SequencePhase::kEnded) ended_.push_back(std::move(node));
}

// All at once: many may end in one step.
void Scheduler::Impl::SweepEnded() {
  if (ended_.empty()) return;
  std::erase_if(running_,
                [](const Sequence* sequence) { return sequence->phase == SequencePhase::kEnded; });
  ended_.clear();
}

void Scheduler::Impl::Enqueue(Sequence* sequence) {
  const auto line = static_cast<size_t>(sequence->tenant);
  if (lines_.size() <= line) lines_.resize(line + 1);
  lines_[line].waiting.insert(sequence);
  ++num_waiting_;
}

void Scheduler::Impl::Commit(std::span<const RanRows> rows) {
  for (const RanRows& ran : rows) CommitRows(ran);
}

void Scheduler::Impl::Commit(const StepPlan& plan) {
  for (const PlannedRows& rows : plan.rows) {
    CommitRows({rows.sequence, rows.first + rows.count, options_.num_stages});
  }
}

void Scheduler::Impl::CommitRows(const RanRows& rows) {
  Sequence& sequence = Known(rows.sequence);
  SPADE_CHECK(rows.end <= sequence.length());
  sequence.frontier.Fill(rows.depth, rows.end);
  sequence.awaits_token = rows.end == sequence.length();
  sequence.is_held = rows.is_held;
  // Drafts are never complete here: their rows go to full depth in the step that resolves them.
  if (UsesCache(sequence)) PublishFullBlocks(sequence);
}

void Scheduler::Impl::Append(SequenceId id, TokenId token, bool is_draft) {
  Sequence& sequence = Known(id);
  SPADE_CHECK(sequence.awaits_token && !sequence.is_held);
  sequence.awaits_token = false;
  sequence.tokens.push_back(token);
  sequence.num_drafts += is_draft ? 1 : 0;
  tenants_.Charge(sequence.tenant, 1);
}

void Scheduler::Impl::ResolveDrafts(SequenceId id, int32_t num_accepted) {
  DropDrafts(Known(id), num_accepted);
}

// Keeps the first `num_kept` drafts as tokens.
void Scheduler::Impl::DropDrafts(Sequence& sequence, int32_t num_kept) {
  SPADE_CHECK(num_kept >= 0 && num_kept <= sequence.num_drafts);
  sequence.tokens.resize(sequence.tokens.size() -
                         static_cast<size_t>(sequence.num_drafts - num_kept));
  sequence.num_drafts = 0;
  sequence.frontier.Truncate(sequence.length());
}

Sequence& Scheduler::Impl::Known(SequenceId id) {
  const auto found = sequences_.find(id);
  SPADE_CHECK(found != sequences_.end());
  return found->second;
}

// ---- Interface

Scheduler::Scheduler(const SchedulerOptions& options, BlockPool* pool, const BlockHasher* hasher)
    : impl_(std::make_unique<Impl>(options, pool, hasher)) {}
Scheduler::~Scheduler() = default;

absl::StatusOr<SequenceId> Scheduler::Add(SequenceSpec spec) { return impl_->Add(std::move(spec)); }
void Scheduler::Remove(SequenceId id) { impl_->Remove(id); }
const StepPlan& Scheduler::Plan() { return impl_->Plan(); }
void Scheduler::Commit(std::span<const RanRows> rows) { impl_->Commit(rows); }
void Scheduler::Commit(const StepPlan& plan) { impl_->Commit(plan); }
void Scheduler::Append(SequenceId id, TokenId token) {
  impl_->Append(id, token, /*is_draft=*/false);
}
void Scheduler::AppendDraft(SequenceId id, TokenId token) {
  impl_->Append(id, token, /*is_draft=*/true);
}
void Scheduler::ResolveDrafts(SequenceId id, int32_t num_accepted) {
  impl_->ResolveDrafts(id, num_accepted);
}
const Sequence* Scheduler::Find(SequenceId id) const { return impl_->Find(id); }
int32_t Scheduler::num_waiting() const { return static_cast<int32_t>(impl_->num_waiting()); }
int32_t Scheduler::num_running() const { return static_cast<int32_t>(impl_->num_running()); }

}  // namespace spade
