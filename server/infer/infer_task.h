#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/open_inference.pb.h"
#include "server/infer/infer_output.h"
#include "server/request_convert.h"
#include "server/serving_state.h"

namespace spade {

// An inference of either model, checked and ready for the engine.
struct InferTask {
  std::variant<GenerateRequest, DecideRequest> request;
  std::unique_ptr<InferOutput> output;

  RequestContext& context();
};

// Admit for a request of either model.
struct AdmitEither {
  template <typename Function>
  AdmitEither(const Function& admit) : generation(admit), decision(admit) {}  // NOLINT: implicit

  Admit<GenerateRequest> generation;
  Admit<DecideRequest> decision;
};

// `streaming`: several responses may be sent for it. `deadline`: the call's, if any; the request's
// own `timeout` can bring it forward. `admit`: as RequestConverter's. INVALID_ARGUMENT names the
// client's field; NOT_FOUND: no such model; UNIMPLEMENTED: a feature of the protocol that these
// models lack.
absl::StatusOr<InferTask> PrepareInference(const ServedModel& model,
                                           const ::inference::ModelInferRequest& request,
                                           bool streaming,
                                           std::optional<Clock::time_point> deadline,
                                           const AdmitEither& admit = AdmitAny());

// Hands the request to the engine; `Sink` is both a GenerateSink and a DecideSink.
template <typename Sink>
absl::StatusOr<InferenceEngine::RequestHandle> SubmitInference(
    InferenceEngine* engine, std::variant<GenerateRequest, DecideRequest> request,
    std::shared_ptr<Sink> sink) {
  if (auto* generate = std::get_if<GenerateRequest>(&request)) {
    return engine->Generate(std::move(*generate), std::move(sink));
  }
  return engine->Decide(std::move(std::get<DecideRequest>(request)), std::move(sink));
}

// The responses of one request under the names that its client knows.
class InferResponses {
 public:
  explicit InferResponses(const ::inference::ModelInferRequest& request);

  void SetOutput(std::unique_ptr<InferOutput> output) { output_ = std::move(output); }
  InferOutput& output() { return *output_; }
  bool empty() const { return output_ == nullptr || output_->empty(); }
  MakeInferResponse Take();  // as InferOutput's
  // A response with the request's names alone.
  ::inference::ModelInferResponse Frame() const { return Frame(*names_); }

 private:
  struct Names {
    std::string model;
    std::string id;
    std::vector<std::string> requested;  // outputs; empty: all
  };
  static ::inference::ModelInferResponse Frame(const Names& names);
  static ::inference::ModelInferResponse Make(const Names& names,
                                              ::inference::ModelInferResponse all);

  std::shared_ptr<const Names> names_;
  std::unique_ptr<InferOutput> output_;
};

}  // namespace spade
