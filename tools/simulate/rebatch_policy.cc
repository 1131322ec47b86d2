#include "tools/simulate/rebatch_policy.h"

#include <algorithm>

namespace spade::simulate {
namespace {

constexpr double kLearning = 0.05;  // weight of a pass in the shares

}  // namespace

RebatchPolicy::RebatchPolicy(const RebatchOptions& options, const StepCosts* costs)
    : options_(options),
      costs_(*costs),
      waiting_(static_cast<size_t>(costs->num_stages())),
      deeper_share_(static_cast<size_t>(costs->num_stages()), 1.0) {}

double RebatchPolicy::Turn(Fleet& fleet, double now) {
  const StepPlan& plan = fleet.scheduler().Plan();
  DropPreempted(fleet, plan, now);
  num_running_ = fleet.scheduler().num_running();
  const int32_t ready = ReadyBoundary(plan, now);
  ran_.clear();
  given_.clear();
  if (ready == 0) return plan.empty() ? 0 : RunPlan(fleet, plan, now);
  active_.swap(waiting_[static_cast<size_t>(ready)]);
  waiting_[static_cast<size_t>(ready)].clear();
  TurnLoad load(costs_.num_stages());
  Pass(fleet, ready, /*to_the_top=*/false, now, &load);
  return Finish(fleet, &load, now);
}

// The deepest boundary whose rows have waited for enough others, or long enough; 0: none.
int32_t RebatchPolicy::ReadyBoundary(const StepPlan& plan, double now) const {
  for (int32_t boundary = costs_.num_stages() - 1; boundary > 0; --boundary) {
    const Rows& rows = waiting_[static_cast<size_t>(boundary)];
    if (rows.empty()) continue;
    if (plan.empty() || !Waits(boundary) || now - rows.front().since >= options_.longest_wait) {
      return boundary;
    }
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
    if (!to_the_top && (waiting.empty() || Waits(boundary))) {
      // They are written this far, and are not planned before they have their token.
      for (const Row& row : waiting) {
        if (fleet.Get(row.sequence).frontier.filled(stage) < row.end) {
          ran_.push_back({row.sequence, row.end, boundary});
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
    double& share = deeper_share_[static_cast<size_t>(boundary)];
    share += kLearning * (static_cast<double>(rest_.size()) / std::ssize(active_) - share);
  }
  active_.swap(rest_);
}

bool RebatchPolicy::Waits(int32_t boundary) const {
  return std::ssize(waiting_[static_cast<size_t>(boundary)]) < BatchAt(boundary);
}

// With k rows waiting for each other, k / 2 of the running ones stand still on average. Of the
// others a pass below the boundary gives all their next rows, and the share that goes deeper fills
// the next batch of k.
int32_t RebatchPolicy::BatchAt(int32_t boundary) const {
  if (options_.batch > 0) return std::min(options_.batch, num_running_);
  const double share = deeper_share_[static_cast<size_t>(boundary)];
  const StageCosts& costs = costs_.learnt();
  double best_rate = 0;
  int32_t best = 0;
  for (int32_t batch = 0; batch <= num_running_ / 2; batch = batch == 0 ? 2 : 2 * batch) {
    const double moving = num_running_ - batch / 2.0;
    const double deeper = share * moving;
    const double rows = std::max(static_cast<double>(batch), deeper);
    if (rows <= 0) return 0;
    const double below = costs.Predict(0, boundary, static_cast<int64_t>(moving + 0.5));
    const double above = costs.Predict(boundary, costs_.num_stages(),
                                       std::max<int64_t>(1, static_cast<int64_t>(rows + 0.5))) +
                         costs_.Head(std::max<int64_t>(1, static_cast<int64_t>(rows + 0.5)));
    const double rate = moving / (below + above * std::min(1.0, deeper / rows));
    if (rate > best_rate * 1.02) {
      best_rate = rate;
      best = batch;
    }
  }
  return best;
}

// A waiting row whose sequence lost its blocks: its token is taken to come with the recomputation.
void RebatchPolicy::DropPreempted(Fleet& fleet, const StepPlan& plan, double now) {
  for (const SequenceId id : plan.preempted) {
    for (Rows& rows : waiting_) {
      const auto held = std::ranges::find(rows, id, &Row::sequence);
      if (held == rows.end()) continue;
      rows.erase(held);
      fleet.Give(id, /*early=*/false, now);
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
