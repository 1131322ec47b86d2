#pragma once

#include <vector>

#include "engine/schedule/hold_policy.h"
#include "tools/simulate/policy.h"

namespace spade::simulate {

struct RebatchOptions {
  // DREX's (arXiv 2512.15705): rows that leave are complete, their state copied to deeper layers at
  // no cost. Else the engine's: they are completed with the next deeper row.
  bool copies_state = true;
  int32_t max_in_row = 0;  // EngineShape's
  HoldOptions hold;
};

// Rows that go deeper than others wait at the boundary until there are enough of them (the engine's
// HoldPolicy); meanwhile those that left go on with their next tokens. A turn is one pass through
// some stages.
class RebatchPolicy final : public Policy {
 public:
  RebatchPolicy(const RebatchOptions& options, const StepCosts* costs);

  double Turn(Fleet& fleet, double now) override;

 private:
  struct Row {
    SequenceId sequence = 0;
    int32_t end = 0;  // its position, plus 1
    int32_t depth = 0;
    double since = 0;  // when it began to wait
  };
  using Rows = std::vector<Row>;

  int32_t ReadyBoundary(const StepPlan& plan, double now) const;
  double RunPlan(Fleet& fleet, const StepPlan& plan, double now);
  // Takes `rows` through stages from `first` on; `to_the_top`: others do, whatever these want.
  void Pass(Fleet& fleet, int32_t first, bool to_the_top, double now, TurnLoad* load);
  void Leave(Fleet& fleet, int32_t boundary);
  bool Waits(int32_t boundary, double now) const;
  void DropPreempted(const StepPlan& plan);
  double Finish(Fleet& fleet, TurnLoad* load, double now);

  const RebatchOptions options_;
  const StepCosts& costs_;
  std::vector<Rows> waiting_;  // by boundary
  Rows active_;
  Rows rest_;
  int32_t num_running_ = 0;
  HoldPolicy hold_;
  std::vector<RanRows> ran_;
  std::vector<std::pair<SequenceId, bool>> given_;
};

}  // namespace spade::simulate
