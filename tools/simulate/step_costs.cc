#include "tools/simulate/step_costs.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace spade::simulate {
namespace {

using nlohmann::json;

void Learn(StageCosts& costs, int32_t stage, const CostPoints& points) {
  for (const auto& [rows, seconds] : points) costs.Observe(stage, rows, seconds);
}

absl::Status CheckCosts(const MeasuredCosts& costs) {
  const size_t stages = costs.exit_layers.size() + 1;
  if (costs.stages.size() != stages || costs.decode_position_seconds.size() != stages ||
      costs.prefill_position_seconds.size() != stages) {
    return absl::InvalidArgumentError(
        "costs: one entry more than exit_layers is wanted of stages, "
        "decode_position_seconds and prefill_position_seconds");
  }
  for (const CostPoints& points : costs.stages) {
    if (points.empty()) return absl::InvalidArgumentError("costs: a stage has no points");
  }
  return absl::OkStatus();
}

}  // namespace

json ToJson(const MeasuredCosts& costs) {
  return {{"model", costs.model},
          {"device", costs.device},
          {"num_layers", costs.num_layers},
          {"exit_layers", costs.exit_layers},
          {"stages", costs.stages},
          {"last_stage_one_output", costs.last_stage_one_output},
          {"head", costs.head},
          {"check", costs.check},
          {"decode_position_seconds", costs.decode_position_seconds},
          {"prefill_position_seconds", costs.prefill_position_seconds},
          {"step_seconds", costs.step_seconds},
          {"row_seconds", costs.row_seconds}};
}

absl::StatusOr<MeasuredCosts> ParseCosts(const json& json) {
  MeasuredCosts costs;
  try {
    json.at("model").get_to(costs.model);
    json.at("device").get_to(costs.device);
    json.at("num_layers").get_to(costs.num_layers);
    json.at("exit_layers").get_to(costs.exit_layers);
    json.at("stages").get_to(costs.stages);
    json.at("last_stage_one_output").get_to(costs.last_stage_one_output);
    json.at("head").get_to(costs.head);
    json.at("check").get_to(costs.check);
    json.at("decode_position_seconds").get_to(costs.decode_position_seconds);
    json.at("prefill_position_seconds").get_to(costs.prefill_position_seconds);
    json.at("step_seconds").get_to(costs.step_seconds);
    json.at("row_seconds").get_to(costs.row_seconds);
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("costs: ", error.what()));
  }
  if (absl::Status status = CheckCosts(costs); !status.ok()) return status;
  return costs;
}

absl::StatusOr<MeasuredCosts> ReadCosts(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open the costs ", path));
  const json parsed = json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return absl::InvalidArgumentError(absl::StrCat(path, " is not JSON"));
  return ParseCosts(parsed);
}

StepCosts::StepCosts(const MeasuredCosts& measured)
    : measured_(measured),
      num_stages_(static_cast<int32_t>(measured.stages.size())),
      costs_(num_stages_ + kExtraCosts),
      last_stage_(1) {
  for (int32_t stage = 0; stage < num_stages_; ++stage) {
    Learn(costs_, stage, measured.stages[static_cast<size_t>(stage)]);
  }
  Learn(costs_, num_stages_ + kHeadCost, measured.head);
  Learn(costs_, num_stages_ + kCheckCost, measured.check);
  Learn(last_stage_, 0, measured.last_stage_one_output);
}

int32_t StepCosts::LayersBelow(int32_t boundary) const {
  if (boundary == 0) return 0;
  if (boundary >= num_stages_) return measured_.num_layers;
  return measured_.exit_layers[static_cast<size_t>(boundary - 1)];
}

int32_t StepCosts::BoundaryAfter(int32_t layers) const {
  int32_t boundary = 1;
  while (boundary < num_stages_ && LayersBelow(boundary) < layers) ++boundary;
  return boundary;
}

// In the last layer, rows that want no output stop after their keys and values.
double StepCosts::Stage(int32_t stage, const StageLoad& load) const {
  if (load.rows == 0) return 0;
  const auto index = static_cast<size_t>(stage);
  double seconds = costs_.Predict(stage, load.rows);
  if (stage + 1 == num_stages_ && load.outputs < load.rows) {
    const double all = seconds;
    seconds = last_stage_.Predict(0, load.rows);
    const double one = last_stage_.Predict(0, load.outputs);
    seconds += std::max(0.0, std::min(costs_.Predict(stage, load.outputs) - one, all - seconds));
  }
  return seconds +
         static_cast<double>(load.decode_positions) * measured_.decode_position_seconds[index] +
         static_cast<double>(load.prefill_positions) * measured_.prefill_position_seconds[index];
}

}  // namespace spade::simulate
