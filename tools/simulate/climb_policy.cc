#include "tools/simulate/climb_policy.h"

#include <algorithm>

namespace spade::simulate {

double Account(const TurnLoad& load, const StepCosts& costs, RunRecord* record) {
  double seconds = costs.Head(load.sampled) + costs.Overhead(load.finished);
  for (int32_t stage = 0; stage < costs.num_stages(); ++stage) {
    const auto index = static_cast<size_t>(stage);
    seconds += costs.Stage(stage, load.stages[index]) + costs.Check(load.asked[index]);
    const double layers = costs.LayersBelow(stage + 1) - costs.LayersBelow(stage);
    record->layer_rows += layers * static_cast<double>(load.stages[index].rows);
  }
  const int64_t entered = load.stages[0].rows;
  record->rows += entered;
  record->layer_rows_full += static_cast<double>(entered) * costs.num_layers();
  ++record->steps;
  return seconds;
}

double ClimbPolicy::Turn(Fleet& fleet, double now) {
  const StepPlan& plan = fleet.scheduler().Plan();
  if (plan.empty()) return 0;
  ran_.clear();
  given_.clear();
  TurnLoad load(costs_.num_stages());
  const int32_t group = exits_ == Exits::kGrouped ? GroupDepth(fleet, plan) : 0;
  for (const PlannedRows& rows : plan.rows) {
    AddRows(fleet, rows, DepthOf(fleet, rows, group), &load);
  }
  load.finished = std::ssize(given_);
  const double seconds = Account(load, costs_, &fleet.record());
  fleet.scheduler().Commit(ran_);
  for (const auto& [id, early] : given_) fleet.Give(id, early, now + seconds);
  return seconds;
}

int32_t ClimbPolicy::GroupDepth(Fleet& fleet, const StepPlan& plan) const {
  int32_t deepest = 1;
  for (const PlannedRows& rows : plan.rows) {
    const bool decodes = rows.samples && (rows.count == 1 || fleet.Decides(rows.sequence));
    deepest = std::max(deepest, decodes ? fleet.WantedStages(rows.sequence) : costs_.num_stages());
  }
  return deepest;
}

int32_t ClimbPolicy::DepthOf(Fleet& fleet, const PlannedRows& rows, int32_t group) const {
  if (exits_ == Exits::kNone || !rows.samples) return costs_.num_stages();
  return std::max(group, fleet.WantedStages(rows.sequence));
}

// In a stage that its newest row runs, a sequence's rows are those not written there yet: the ones
// parked below come along (I2).
void ClimbPolicy::AddRows(Fleet& fleet, const PlannedRows& rows, int32_t depth, TurnLoad* load) {
  const int32_t num_stages = costs_.num_stages();
  const Sequence& sequence = fleet.Get(rows.sequence);
  const bool decides = fleet.Decides(rows.sequence);
  const bool leaves = depth < num_stages;
  const int32_t end = rows.first + rows.count;
  const bool decodes = rows.count == 1 && !decides;
  for (int32_t stage = 0; stage < num_stages; ++stage) {
    StageLoad& at = load->stages[static_cast<size_t>(stage)];
    int32_t from = sequence.frontier.filled(stage);
    int32_t to = end;
    if (stage >= depth) {
      // A decision's answer goes on as a SPADE row; of a chunk, all rows but the newest do.
      if (decides) ++at.rows;
      if (decides || rows.count == 1) continue;
      --to;
    }
    at.rows += to - from;
    (decodes ? at.decode_positions : at.prefill_positions) += PositionsOf(from, to - from);
  }
  load->stages.back().outputs += rows.samples && (decides || !leaves) ? 1 : 0;
  if (exits_ != Exits::kNone && rows.samples && sequence.num_output() > 0) {
    for (int32_t boundary = 1; boundary <= std::min(depth, num_stages - 1); ++boundary) {
      ++load->asked[static_cast<size_t>(boundary)];
    }
  }
  if (!decides || !leaves) {
    if (leaves && rows.count > 1) ran_.push_back({rows.sequence, end - 1, num_stages});
    ran_.push_back({rows.sequence, end, depth});
  }
  if (!rows.samples) return;
  load->sampled += decides || leaves ? 0 : 1;
  given_.emplace_back(rows.sequence, leaves);
}

}  // namespace spade::simulate
