#include "tools/simulate/rebatch_policy.h"

#include <algorithm>

namespace spade::simulate {

RebatchPolicy::RebatchPolicy(const RebatchOptions& options, const StepCosts* costs)
    : options_(options),
      costs_(*costs),
      waiting_(static_cast<size_t>(costs->num_stages())),
      hold_(options.hold, costs->num_stages()) {}

double RebatchPolicy::Turn(Fleet& fleet, double now) {
  const StepPlan& plan = fleet.scheduler().Plan();
  DropPreempted(plan);
  num_running_ = fleet.scheduler().num_running();
  const int32_t ready = ReadyBoundary(plan, now);
  ran_.clear();
  given_.clear();
  if (ready == 0) return plan.rows.empty() ? 0 : RunPlan(fleet, plan, now);
  active_.swap(waiting_[static_cast<size_t>(ready)]);
  waiting_[static_cast<size_t>(ready)].clear();
  TurnLoad load(costs_.num_stages());
  Pass(fleet, ready, /*to_the_top=*/false, now, &load);
  return Finish(fleet, &load, now);
}

// The deepest boundary whose rows have waited for enough others, or long enough; 0: none.
int32_t RebatchPolicy::ReadyBoundary(const StepPlan& plan, double now) const {
  for (int32_t boundary = costs_.num_stages() - 1; boundary > 0; --boundary) {
    if (waiting_[static_cast<size_t>(boundary)].empty()) continue;
    if (plan.rows.empty() || !Waits(boundary, now)) return boundary;
  }
  return 0;
}

double RebatchPolicy::RunPlan(Fleet& fleet, const StepPlan& plan, double now) {
  const int32_t num_stages = costs_.num_stages();
  TurnLoad load(num_stages);
  active_.clear();
  bool to_the_top = false;
  for (const PlannedRows& rows : plan.rows) {
    const bool decides = fleet.Decides(rows.sequence);
    const int32_t end = rows.first + rows.count;
    if (rows.count == 1 && rows.samples && !decides) {
      active_.push_back({rows.sequence, end, fleet.WantedStages(rows.sequence), now});
      continue;
    }
    // A prompt streams all stages.
    to_the_top = true;
    for (StageLoad& at : load.stages) {
      at.rows += rows.count;
      at.prefill_positions += PositionsOf(rows.first, rows.count);
    }
    load.stages.back().outputs += rows.samples ? 1 : 0;
    ran_.push_back({rows.sequence, end, num_stages});
    if (!rows.samples) continue;
    load.sampled += decides ? 0 : 1;
    given_.emplace_back(rows.sequence, false);
  }
  Pass(fleet, 0, to_the_top, now, &load);
  return Finish(fleet, &load, now);
}

void RebatchPolicy::Pass(Fleet& fleet, int32_t first, bool to_the_top, double now, TurnLoad* load) {
  const int32_t num_stages = costs_.num_stages();
  for (int32_t stage = first; stage < num_stages; ++stage) {
    StageLoad& at = load->stages[static_cast<size_t>(stage)];
    for (const Row& row : active_) {
      const int32_t from = fleet.Get(row.sequence).frontier.filled(stage);
      at.rows += row.end - from;
      at.decode_positions += PositionsOf(from, row.end - from);
    }
    const int32_t boundary = stage + 1;
    if (boundary == num_stages) break;
    load->asked[static_cast<size_t>(boundary)] += std::ssize(active_);
    Leave(fleet, boundary);
    Rows& waiting = waiting_[static_cast<size_t>(boundary)];
    for (Row& row : active_) row.since = now;
    waiting.insert(waiting.end(), active_.begin(), active_.end());
    active_.clear();
    if (!to_the_top && Waits(boundary, now)) {
      // They are written this far, and are not planned before they have their token.
      for (const Row& row : waiting) {
        if (fleet.Get(row.sequence).frontier.filled(stage) < row.end) {
          ran_.push_back({row.sequence, row.end, boundary, /*is_held=*/true});
        }
      }
      return;
    }
    active_.swap(waiting);
  }
  load->stages.back().outputs += std::ssize(active_);
  load->sampled += std::ssize(active_);
  for (const Row& row : active_) {
    ran_.push_back({row.sequence, row.end, num_stages});
    given_.emplace_back(row.sequence, false);
  }
  active_.clear();
}

// Those whose depth it is leave the active rows at the boundary.
void RebatchPolicy::Leave(Fleet& fleet, int32_t boundary) {
  rest_.clear();
  for (const Row& row : active_) {
    if (row.depth > boundary) {
      rest_.push_back(row);
      continue;
    }
    const bool complete = options_.copies_state;
    ran_.push_back({row.sequence, row.end, complete ? costs_.num_stages() : boundary});
    given_.emplace_back(row.sequence, true);
    // A copied state leaves nothing to be completed, so nothing bounds a run of early tokens.
    if (complete) fleet.At(row.sequence).num_in_row = -1;
  }
  if (!active_.empty()) {
    hold_.Observe(boundary, std::ssize(active_), std::ssize(rest_));
  }
  active_.swap(rest_);
}

// Whether the rows there wait for more.
bool RebatchPolicy::Waits(int32_t boundary, double now) const {
  const Rows& rows = waiting_[static_cast<size_t>(boundary)];
  if (rows.empty()) return true;
  if (now - rows.front().since >= hold_.longest_wait()) return false;
  return hold_.Waits(boundary, std::ssize(rows),
                     {.num_stages = costs_.num_stages(),
                      .num_sequences = num_running_,
                      .max_parked = options_.copies_state ? 0 : options_.max_in_row},
                     costs_.learnt());
}

// A waiting row whose sequence lost its blocks: it runs again with all the others.
void RebatchPolicy::DropPreempted(const StepPlan& plan) {
  for (const SequenceId id : plan.preempted) {
    for (Rows& rows : waiting_) {
      const auto held = std::ranges::find(rows, id, &Row::sequence);
      if (held == rows.end()) continue;
      rows.erase(held);
      break;
    }
  }
}

double RebatchPolicy::Finish(Fleet& fleet, TurnLoad* load, double now) {
  load->finished = std::ssize(given_);
  const double seconds = Account(*load, costs_, &fleet.record());
  fleet.scheduler().Commit(ran_);
  for (const auto& [id, early] : given_) fleet.Give(id, early, now + seconds);
  return seconds;
}

}  // namespace spade::simulate
