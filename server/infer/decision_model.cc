#include "server/infer/decision_model.h"

#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "server/infer/mode_argument.h"
#include "server/infer/output_tensors.h"

namespace spade {
namespace {

constexpr TensorSpec kInputs[] = {
    {"text", TensorKind::kText, ::inference::TYPE_STRING, true, false},
    {"labels", TensorKind::kText, ::inference::TYPE_STRING, false, false},
    {"mode", TensorKind::kText, ::inference::TYPE_STRING, true, true},
    {"max_mismatch", TensorKind::kReal, ::inference::TYPE_FP64, true, true},
    {"label_priors", TensorKind::kReal, ::inference::TYPE_FP32, false, true},
    {"temperature", TensorKind::kReal, ::inference::TYPE_FP32, true, true},
};

constexpr TensorSpec kOutputs[] = {
    {"label", TensorKind::kText, ::inference::TYPE_STRING, true, false},
    {"label_index", TensorKind::kInteger, ::inference::TYPE_UINT32, true, false},
    {"probabilities", TensorKind::kReal, ::inference::TYPE_FP32, false, false},
    {"exit_layer", TensorKind::kInteger, ::inference::TYPE_UINT32, true, false},
    {"num_layers", TensorKind::kInteger, ::inference::TYPE_UINT32, true, false},
    {"kind", TensorKind::kText, ::inference::TYPE_STRING, true, false},
    {"corrected", TensorKind::kBool, ::inference::TYPE_BOOL, true, false},
    {"compute_saved", TensorKind::kReal, ::inference::TYPE_FP64, true, false},
    {"certificate_id", TensorKind::kText, ::inference::TYPE_STRING, true, false},
};

}  // namespace

std::span<const TensorSpec> DecisionInputs() { return kInputs; }
std::span<const TensorSpec> DecisionOutputs() { return kOutputs; }

absl::StatusOr<v1::DecideRequest> PlanDecision(Arguments arguments) {
  v1::DecideRequest request;
  request.set_text(arguments.Text("text").value_or(""));
  for (std::string& label : arguments.Texts("labels")) request.add_labels(std::move(label));
  SPADE_ASSIGN_OR_RETURN(const v1::Mode mode, TakeMode(arguments));
  request.set_mode(mode);
  request.set_max_mismatch(arguments.Real("max_mismatch").value_or(0));
  request.set_cache_salt(arguments.Text("cache_salt").value_or(""));
  for (const double prior : arguments.Reals("label_priors")) {
    request.add_label_priors(static_cast<float>(prior));
  }
  if (const auto value = arguments.Real("temperature")) request.set_temperature(*value);
  SPADE_RETURN_IF_ERROR(arguments.Finish());
  return request;
}

void DecisionOutput::Add(DecisionKind kind, const Decision& decision) {
  // The converter must see the early answer to tell whether the final one corrects it.
  v1::DecideResponse response = converter_.Convert(kind, decision);
  if (kind == DecisionKind::kFinal || previews_) pending_.push_back(std::move(response));
}

MakeInferResponse DecisionOutput::Take() {
  MakeInferResponse make = [from = std::move(pending_.front())] { return Make(from); };
  pending_.pop_front();
  return make;
}

::inference::ModelInferResponse DecisionOutput::Make(const v1::DecideResponse& from) {
  const bool final = from.kind() == v1::DecideResponse::KIND_FINAL;
  ::inference::ModelInferResponse response;
  OutputWriter writer(&response);
  writer.AddText("label", from.label());
  writer.AddUint32("label_index", from.label_index());
  writer.AddReal("probabilities",
                 {from.probabilities().data(), static_cast<size_t>(from.probabilities_size())});
  writer.AddUint32("exit_layer", from.exit_layer());
  writer.AddUint32("num_layers", from.num_layers());
  writer.AddText("kind", std::string(final ? "final" : "early"));
  writer.AddBool("corrected", from.corrected());
  writer.AddDouble("compute_saved", from.compute_saved());
  writer.AddText("certificate_id", from.certificate_id());
  (*response.mutable_parameters())[kFinalResponse].set_bool_param(final);
  return response;
}

}  // namespace spade
