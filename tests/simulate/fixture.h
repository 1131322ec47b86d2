#pragma once

#include <vector>

#include "tools/simulate/simulation.h"

namespace spade::simulate::testing {

// Two stages of four layers, 1 ms each for up to 32 rows, then in proportion; the head is free.
inline MeasuredCosts FlatCosts() {
  MeasuredCosts costs;
  costs.model = "flat";
  costs.device = "paper";
  costs.num_layers = 8;
  costs.exit_layers = {4};
  costs.stages.assign(2, {{1, 1e-3}, {32, 1e-3}});
  costs.last_stage_one_output = costs.stages[1];
  costs.decode_position_seconds.assign(2, 0.0);
  costs.prefill_position_seconds.assign(2, 0.0);
  return costs;
}

inline std::vector<Request> Requests(int32_t count, double gap, int32_t prompt, int32_t output) {
  std::vector<Request> requests;
  for (int32_t i = 0; i < count; ++i) requests.push_back({i * gap, prompt, output});
  return requests;
}

}  // namespace spade::simulate::testing
