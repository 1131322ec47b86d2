// StepRunner at a boundary between two stages: rows that go deeper wait there for others that do.
#include <algorithm>
#include <limits>

#include "engine/runtime/step_rows.h"
#include "engine/runtime/step_runner.h"

namespace spade {
namespace {

// Whether the item's newest row gives a FAST token of a sequence that decodes: others run until it
// does.
bool GivesFastToken(const StepItem& item) {
  const EarlyTokens* const early = EarlyOf(item);
  return early != nullptr && !early->drafts() && item.rows.samples && item.rows.count == 1 &&
         item.sequence->num_output() > 0;
}

Urgency UrgencyOf(const StepItem& item, int32_t lowest_priority, Clock::time_point now) {
  const RequestContext& context = item.request->context();
  Urgency urgency{.priority = context.priority, .lowest_priority = lowest_priority};
  if (!context.deadline) return urgency;
  const GeneratedSequence& generated = *item.generated;
  urgency.seconds_left = SecondsBetween(now, *context.deadline);
  urgency.tokens_left = generated.max_tokens() - generated.num_output();
  if (generated.num_output() > 1) {
    urgency.seconds_per_token = SecondsBetween(*generated.first_token(), *generated.last_token()) /
                                (generated.num_output() - 1);
  }
  return urgency;
}

// Whether a rider of the item has rows beyond the boundary. Of a prefill only the newest leaves.
bool GoesDeeper(const StepItem& item, int32_t boundary) {
  return !LeavesAt(item, boundary) || item.rows.count > 1;
}

}  // namespace

void StepRunner::SetPatience(std::span<StepItem> items) {
  num_may_wait_ = 0;
  const double longest_wait = hold_policy_.longest_wait();
  if (exits_ == nullptr || longest_wait <= 0) return;
  int32_t lowest_priority = std::numeric_limits<int32_t>::min();
  for (const StepItem& item : items) {
    if (item.request->is_shadow) continue;
    lowest_priority = std::max(lowest_priority, item.request->context().priority);
  }
  const Clock::time_point now = Clock::now();
  for (StepItem& item : items) {
    if (!GivesFastToken(item)) continue;
    item.patience = Patience(UrgencyOf(item, lowest_priority, now), longest_wait);
    num_may_wait_ += item.patience > 0 ? 1 : 0;
  }
}

// Rows wait only where no other row goes deeper: where one does, the deeper stages' weights are
// streamed anyway, and all go along.
void StepRunner::DecideHolds(int32_t boundary, std::span<const StepItem> items) {
  holds_here_ = false;
  releases_here_ = false;
  int64_t reached = 0;
  int64_t deeper = 0;
  bool others = batch_.spade_rows > 0;
  for (const Rider& rider : riders_) {
    const StepItem& item = items[static_cast<size_t>(rider.item)];
    if (!MayWait(item)) {
      others |= GoesDeeper(item, boundary);
      continue;
    }
    ++reached;
    deeper += LeavesAt(item, boundary) ? 0 : 1;
  }
  if (reached > 0) hold_policy_.Observe(boundary, reached, deeper);

  const Clock::time_point now = Clock::now();
  bool overdue = false;
  int64_t waiting = 0;
  for (const Rider& rider : held_riders_) {
    const StepItem& item = items[static_cast<size_t>(rider.item)];
    const HeldRow& held = *HeldRowOf(item);
    if (held.boundary != boundary) continue;
    ++waiting;
    overdue |= SecondsBetween(held.since, now) >= item.patience;
  }
  if (deeper + waiting == 0) return;
  const HoldSituation situation{.num_stages = model_->num_stages(),
                                .num_sequences = num_may_wait_,
                                .max_parked = options_.max_parked};
  const bool waits = !others && !overdue && !only_held_ &&
                     hold_policy_.Waits(boundary, deeper + waiting, situation, costs_);
  holds_here_ = waits && deeper > 0;
  releases_here_ = !waits && waiting > 0;
}

// The rider's rows, those that were parked below among them, are parked with the newest.
void StepRunner::HoldBack(const Rider& rider, int32_t first_row, int32_t boundary,
                          const StepItem& item) {
  EarlyTokens& early = *item.generated->early();
  for (int32_t i = 0; i < rider.count; ++i) {
    early.parked().push_back({Park(rider, first_row, i), boundary});
  }
  early.Hold({boundary, Clock::now()});
  RemovedBy(item) += rider.count;
  ++sample_.held_rows;
}

// They go first: all of them are of the pool.
void StepRunner::ReleaseHeld(int32_t boundary, std::span<const StepItem> items) {
  for (Rider& rider : held_riders_) {
    const StepItem& item = items[static_cast<size_t>(rider.item)];
    if (HeldRowOf(item)->boundary != boundary) continue;
    item.generated->early()->Release();
    JoinParked(rider, boundary, item);
    next_riders_.push_back(rider);
  }
  std::erase_if(held_riders_, [](const Rider& rider) { return rider.count > 0; });
}

}  // namespace spade
