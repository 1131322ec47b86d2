#pragma once

#include <vector>

#include "tools/simulate/policy.h"

namespace spade::simulate {

// The scheduler's plan as one climb a turn, as the engine runs it.
class ClimbPolicy final : public Policy {
 public:
  enum class Exits {
    kNone,     // full-depth continuous batching
    kGrouped,  // the batch leaves where its deepest row does; a prompt in it goes to full depth
    kAtOnce,   // each row leaves where it may: the engine's way
  };
  ClimbPolicy(Exits exits, const StepCosts* costs) : exits_(exits), costs_(*costs) {}

  double Turn(Fleet& fleet, double now) override;

 private:
  int32_t GroupDepth(Fleet& fleet, const StepPlan& plan) const;
  int32_t DepthOf(Fleet& fleet, const PlannedRows& rows, int32_t group) const;
  void AddRows(Fleet& fleet, const PlannedRows& rows, int32_t depth, TurnLoad* load);

  const Exits exits_;
  const StepCosts& costs_;
  std::vector<RanRows> ran_;
  std::vector<std::pair<SequenceId, bool>> given_;  // and whether early
};

}  // namespace spade::simulate
