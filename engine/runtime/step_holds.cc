// StepRunner at a boundary between two stages: rows that go deeper wait there for others that do.
#include <algorithm>

#include "engine/runtime/step_rows.h"
#include "engine/runtime/step_runner.h"

namespace spade {

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
      others = true;
      continue;
    }
    ++reached;
    deeper += LeavesAt(item, boundary) ? 0 : 1;
  }
  if (reached > 0) hold_policy_.Observe(boundary, reached, deeper);

  std::optional<Clock::time_point> oldest;
  int64_t waiting = 0;
  for (const Rider& rider : held_riders_) {
    const HeldRow& held = *HeldRowOf(items[static_cast<size_t>(rider.item)]);
    if (held.boundary != boundary) continue;
    ++waiting;
    oldest = std::min(oldest.value_or(held.since), held.since);
  }
  if (deeper + waiting == 0) return;
  const double waited = oldest ? SecondsBetween(*oldest, Clock::now()) : 0;
  const HoldSituation situation{.num_stages = model_->num_stages(),
                                .num_sequences = num_may_wait_,
                                .max_parked = options_.max_parked};
  const bool waits = !others && !only_held_ &&
                     hold_policy_.Waits(boundary, deeper + waiting, waited, situation, costs_);
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
