#pragma once

#include <deque>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "server/infer/arguments.h"
#include "server/infer/infer_output.h"
#include "server/infer/tensor_spec.h"
#include "server/response_convert.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// The decision model: text and labels in, a label with its probabilities out.
std::span<const TensorSpec> DecisionInputs();
std::span<const TensorSpec> DecisionOutputs();

// Unchecked: RequestConverter's to check. INVALID_ARGUMENT names the argument.
absl::StatusOr<v1::DecideRequest> PlanDecision(Arguments arguments);

// Decisions of one request to responses. Not thread-safe.
class DecisionOutput final : public InferOutput {
 public:
  // `previews`: also mode VERIFIED's early answers.
  DecisionOutput(DecisionConverter converter, bool previews)
      : converter_(std::move(converter)), previews_(previews) {}

  void Add(DecisionKind kind, const Decision& decision) override;
  bool empty() const override { return pending_.empty(); }
  MakeInferResponse Take() override;

 private:
  static ::inference::ModelInferResponse Make(const v1::DecideResponse& from);

  DecisionConverter converter_;
  const bool previews_;
  std::deque<v1::DecideResponse> pending_;
};

}  // namespace spade
