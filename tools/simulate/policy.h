#pragma once

#include <vector>

#include "tools/simulate/fleet.h"

namespace spade::simulate {

// Rows by stage in one turn of the engine.
struct TurnLoad {
  std::vector<StageLoad> stages;
  std::vector<int64_t> asked;  // (stages): rows that L-SPADE guessed for at the boundary below it
  int64_t sampled = 0;         // rows through the output head
  int64_t finished = 0;        // tokens and decisions

  explicit TurnLoad(int32_t num_stages)
      : stages(static_cast<size_t>(num_stages)), asked(static_cast<size_t>(num_stages)) {}
};

// Adds the turn to the record; its seconds.
double Account(const TurnLoad& load, const StepCosts& costs, RunRecord* record);

// Sum of the positions that `count` rows from position `first` on attend to.
inline int64_t PositionsOf(int64_t first, int64_t count) {
  return count * first + count * (count + 1) / 2;
}

// How an engine runs its rows. A turn is what happens between two looks at the queue.
class Policy {
 public:
  virtual ~Policy() = default;
  // Seconds that the turn takes, with all that it gave given; 0: there was nothing to run.
  virtual double Turn(Fleet& fleet, double now) = 0;
};

}  // namespace spade::simulate
