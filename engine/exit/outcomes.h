#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spade {

// What each prompt of one split met at one exit point.
struct ExitColumn {
  int32_t layer = 0;                // the exit lies after this many layers
  std::vector<float> entropies;     // (prompts): L-SPADE's, in nats
  std::vector<uint8_t> mismatches;  // (prompts): 1 where the SPADE answer is not full depth's
};

// A split of the calibration prompts as the exits saw it. Prompts are in the same order everywhere.
struct ExitOutcomes {
  std::vector<int32_t> rows;      // (prompts): prompt length
  std::vector<ExitColumn> exits;  // ascending layers

  size_t prompts() const { return rows.size(); }
};

// What compute costs, in layer-rows: one layer run for one row is 1.
struct LayerCosts {
  int32_t num_layers = 0;
  double last_layer_share = 1;  // of the last layer, for a row whose output nobody wants
  double check = 0;             // one exit check of one prompt
  // A generated token: one row, which leaves with nothing to climb on.
  bool is_token = false;

  // Full depth: in the last layer all rows but the answer's stop after keys and values.
  double Full(int32_t rows) const {
    if (is_token) return num_layers;
    return double(rows) * (num_layers - 1) + (rows - 1) * last_layer_share + 1;
  }
  // Of that, what an exit after `layer` leaves undone; the answer row climbs on as a SPADE row.
  double Saved(int32_t rows, int32_t layer) const {
    if (is_token) return num_layers - layer;
    return (rows - 1) * (num_layers - 1 - layer + last_layer_share);
  }
};

// What happens when every prompt leaves at its first exit whose threshold it is under.
struct ExitReplay {
  std::vector<int64_t> exited;      // (exits)
  std::vector<int64_t> mismatched;  // (exits): of those that left there
  double full_cost = 0;             // layer-rows at full depth
  double saved_cost = 0;            // layer-rows not run
  double check_cost = 0;            // layer-rows spent on checks

  int64_t TotalExited() const;
  int64_t TotalMismatched() const;
  // Share of full depth's compute saved, checks deducted.
  double NetSaving() const { return full_cost > 0 ? (saved_cost - check_cost) / full_cost : 0; }
};

// `thresholds`: (exits); 0 closes an exit, and a closed exit costs no check.
ExitReplay ReplayExits(const ExitOutcomes& outcomes, std::span<const float> thresholds,
                       const LayerCosts& costs);

}  // namespace spade
