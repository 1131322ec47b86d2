// The plan of a step.
#include <algorithm>

#include "engine/schedule/scheduler_impl.h"
#include "kernels/check.h"

namespace spade {

const StepPlan& Scheduler::Impl::Plan() {
  BeginPass();
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    ++plan_.num_looked_at;
    if (!CanRun(sequence)) continue;
    if (Decodes(sequence)) {
      pass_.decodes_ahead -= DecodeRows(sequence);
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
  SweepEnded();
  plan_.rows.clear();
  plan_.preempted.clear();
  plan_.admitted.clear();
  plan_.held.clear();
  prefill_.clear();
  RankTenants();
  pass_ = Pass{.budget = options_.max_rows};
  plan_.num_looked_at = std::ssize(running_);
  for (const Sequence* sequence : running_) {
    pass_.scratch_users += sequence->uses_scratch ? 1 : 0;
    if (sequence->is_held) {
      plan_.held.push_back(sequence->id);
      pass_.held_rows += sequence->num_parked();
    }
    if (!CanRun(*sequence)) continue;
    if (Decodes(*sequence)) pass_.decodes_ahead += DecodeRows(*sequence);
    pass_.demand += Demand(*sequence);
  }
  pass_.budget -= pass_.held_rows;
}

// What is running is kept by rank, and ranks of tenants change with what they were served.
void Scheduler::Impl::RankTenants() {
  const bool changed = tenants_.Rank();
  for (const TenantIndex tenant : tenants_.active()) {
    Line& line = lines_[static_cast<size_t>(tenant)];
    line.next = line.waiting.begin();
  }
  if (!changed) return;
  for (Sequence* sequence : running_) sequence->tenant_rank = tenants_.rank(sequence->tenant);
  std::sort(running_.begin(), running_.end(), ByRank{});
}

void Scheduler::Impl::PlanDecode(Sequence& sequence) {
  // Too little budget: a whole prompt of higher rank took this step.
  const int32_t rows = DecodeRows(sequence);
  if (pass_.budget < rows || Reserve(sequence, 1) == 0) return;
  plan_.rows.push_back({sequence.id, sequence.frontier.filled(0), 1, /*samples=*/true});
  pass_.budget -= rows;
}

void Scheduler::Impl::PlanPrefill(Sequence& sequence) {
  const int32_t wanted = RowsWanted(sequence);
  pass_.first_prefill = false;
  if (wanted <= 0) return;
  const int32_t count = Reserve(sequence, wanted);
  if (count == 0) return;
  if (count > pass_.budget) PassOverHeld();
  const int32_t first = sequence.frontier.filled(0);
  prefill_.push_back({sequence.id, first, count, first + count == sequence.length()});
  pass_.budget -= count;
}

// Rows that are held go on in a later step.
void Scheduler::Impl::PassOverHeld() {
  plan_.held.clear();
  pass_.budget += pass_.held_rows;
  pass_.held_rows = 0;
}

// The rows that a prefill may take of this step, blocks aside.
int32_t Scheduler::Impl::RowsWanted(const Sequence& sequence) const {
  const int32_t pending = sequence.pending();
  const int32_t beside_decodes = pass_.budget - pass_.decodes_ahead;
  if (!sequence.spec.whole_prompt || pending > options_.max_rows) {
    return std::min(pending, beside_decodes);
  }
  // The highest-ranked prefill may displace decodes, all of which rank below it; those above have
  // their rows already, and there is an end to them. So it does not starve. Nor do held rows: its
  // successor takes their room only when it, too, comes first.
  const int32_t limit = pass_.first_prefill ? pass_.budget + pass_.held_rows : beside_decodes;
  return pending <= limit ? pending : 0;
}

// The first, by rank as admissions change it, that could run; null: none.
Sequence* Scheduler::Impl::NextWaiting() {
  Sequence* first = nullptr;
  for (const TenantIndex tenant : tenants_.active()) {
    Line& line = lines_[static_cast<size_t>(tenant)];
    ++plan_.num_looked_at;
    while (line.next != line.waiting.end() &&
           (!CanRun(**line.next) || WaitsForSibling(**line.next))) {
      ++line.next;
      ++plan_.num_looked_at;
    }
    if (line.next == line.waiting.end()) continue;
    const bool background = (*line.next)->spec.background;
    const bool precedes = first == nullptr || (first->spec.background != background
                                                   ? first->spec.background
                                                   : tenants_.Precedes(tenant, first->tenant));
    if (precedes) first = *line.next;
  }
  if (first != nullptr) first->tenant_rank = tenants_.rank(first->tenant);
  return first;
}

// Admits waiting sequences that outrank `limit` (null: all), in rank order, while there is room.
// Returns how many.
size_t Scheduler::Impl::Admit(const Sequence* limit) {
  size_t num_admitted = 0;
  while (pass_.admitting && num_waiting_ > 0) {
    Sequence* const next = NextWaiting();
    if (next == nullptr || (limit != nullptr && !Outranks(*next, *limit))) break;
    Sequence& sequence = *next;
    const bool has_place = running_.size() < max_running_ && pass_.budget > pass_.decodes_ahead &&
                           plan_.preempted.empty();
    if (!has_place || !TryAdmit(sequence)) {
      pass_.admitting = false;
      break;
    }
    Line& line = LineOf(sequence);
    line.next = line.waiting.erase(line.next);
    --num_waiting_;
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
  const int64_t spared = pass_.demand + std::ssize(running_) - pass_.scratch_users;
  if (!sequence.uses_scratch && demand > pool_->num_available() - spared) {
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
    sequence.fills_cache = FillsCache(sequence);
    sequence.cached_tokens = std::min(sequence.frontier.complete(), sequence.num_prompt());
    // Not again after a preemption, which is no doing of the tenant.
    if (!sequence.spec.background) {
      tenants_.Charge(sequence.tenant, sequence.num_prompt() - sequence.cached_tokens);
    }
  }
  tenants_.StopWaiting(sequence.tenant);
  sequence.phase = SequencePhase::kRunning;
  plan_.admitted.push_back(sequence.id);
  pass_.demand += demand;
  pass_.scratch_users += sequence.uses_scratch ? 1 : 0;
  return true;
}

bool Scheduler::Impl::WaitsForSibling(const Sequence& sequence) const {
  if (sequence.spec.share_prefix_of == 0 || !UsesCache(sequence)) return false;
  const Sequence* sibling = Find(sequence.spec.share_prefix_of);
  return sibling != nullptr && !PromptComplete(*sibling);
}

}  // namespace spade
