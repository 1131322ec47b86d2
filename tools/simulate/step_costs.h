#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/schedule/stage_costs.h"

namespace spade::simulate {

// (rows, seconds), ascending rows: one point for each power of two, at most.
using CostPoints = std::vector<std::pair<int64_t, double>>;

// What the engine was measured to take, as in a costs file.
struct MeasuredCosts {
  std::string model;
  std::string device;
  int32_t num_layers = 0;
  std::vector<int32_t> exit_layers;  // ascending: a stage ends after each
  std::vector<CostPoints> stages;    // attending to nothing but themselves; all want outputs
  CostPoints last_stage_one_output;  // the last stage, where only one row wants its output
  CostPoints head;                   // the output head
  CostPoints check;                  // L-SPADE's guesses at an exit; empty: free
  std::vector<double> decode_position_seconds;   // (stages): a row's, for a position it attends to
  std::vector<double> prefill_position_seconds;  // the same of rows that come together
  double step_seconds = 0;                       // of a step, outside the model
  double row_seconds = 0;                        // of a sampling row, outside the model
};

nlohmann::json ToJson(const MeasuredCosts& costs);
// INVALID_ARGUMENT names what is missing.
absl::StatusOr<MeasuredCosts> ParseCosts(const nlohmann::json& json);
absl::StatusOr<MeasuredCosts> ReadCosts(const std::string& path);

// Rows of one kind in one stage of a step.
struct StageLoad {
  int64_t rows = 0;
  int64_t outputs = 0;           // of the last stage: rows whose outputs are wanted
  int64_t decode_positions = 0;  // that they attend to
  int64_t prefill_positions = 0;
};

// Predicts steps from measured costs, by the engine's own StageCosts.
class StepCosts {
 public:
  explicit StepCosts(const MeasuredCosts& measured);

  int32_t num_stages() const { return num_stages_; }
  int32_t num_layers() const { return measured_.num_layers; }
  // Layers below boundary `boundary`; num_stages(): all.
  int32_t LayersBelow(int32_t boundary) const;
  // The least boundary with that many layers below it or more.
  int32_t BoundaryAfter(int32_t layers) const;

  double Stage(int32_t stage, const StageLoad& load) const;
  double Head(int64_t rows) const { return costs_.Predict(num_stages_ + kHeadCost, rows); }
  double Check(int64_t rows) const { return costs_.Predict(num_stages_ + kCheckCost, rows); }
  double Overhead(int64_t rows) const {
    return measured_.step_seconds + measured_.row_seconds * static_cast<double>(rows);
  }
  // What the engine's policies see.
  const StageCosts& learnt() const { return costs_; }

 private:
  const MeasuredCosts measured_;
  const int32_t num_stages_;
  StageCosts costs_;
  StageCosts last_stage_;  // one output
};

}  // namespace spade::simulate
