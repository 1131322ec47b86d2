#include "server/infer/infer_stream_reactor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/status_convert.h"

namespace spade {

void InferLane::Fail(const absl::Status& status) {
  // The protocol has no field for the code.
  error_ = absl::StrCat(absl::StatusCodeToString(status.code()), ": ",
                        TruncatedMessage({status.message().data(), status.message().size()}));
}

std::function<::inference::ModelStreamInferResponse()> InferLane::Take() {
  if (!responses_.empty()) {
    return [make = responses_.Take()] {
      ::inference::ModelStreamInferResponse response;
      *response.mutable_infer_response() = make();
      return response;
    };
  }
  ::inference::ModelStreamInferResponse response;
  response.set_error_message(std::exchange(error_, ""));
  *response.mutable_infer_response() = responses_.Frame();
  (*response.mutable_infer_response()->mutable_parameters())[kFinalResponse].set_bool_param(true);
  return [response = std::move(response)] { return response; };
}

class InferStreamReactor::Sink final : public GenerateSink, public DecideSink {
 public:
  Sink(std::shared_ptr<InferStreamReactor> stream, Key key)
      : stream_(std::move(stream)), key_(key) {}

  void OnDelta(GenerateDelta delta) override {
    stream_->Update(key_, [&](InferLane& lane) { lane.responses().output().Add(delta); });
  }
  void OnDecision(DecisionKind kind, const Decision& decision) override {
    stream_->Update(key_, [&](InferLane& lane) { lane.responses().output().Add(kind, decision); });
  }
  void OnDone(const absl::Status& status) override {
    stream_->CountFailure(status);
    stream_->Close(key_, [&](InferLane& lane) {
      if (!status.ok()) lane.Fail(status);
    });
  }

 private:
  const std::shared_ptr<InferStreamReactor> stream_;
  const Key key_;
};

void InferStreamReactor::Handle(const ::inference::ModelInferRequest& request) {
  const Key key = Open(InferLane(request));
  const absl::Status status = Submit(request, key);
  CountFailure(status);
  if (!status.ok()) Close(key, [&](InferLane& lane) { lane.Fail(status); });
}

absl::Status InferStreamReactor::Submit(const ::inference::ModelInferRequest& request, Key key) {
  SPADE_RETURN_IF_ERROR(Admit(key));
  SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service().state->Accept());
  const auto admit = [&](auto& converted) { return Prepare(model, converted); };
  SPADE_ASSIGN_OR_RETURN(InferTask task,
                         PrepareInference(*model, request, /*streaming=*/true, deadline(), admit));
  Update(key, [&](InferLane& lane) { lane.responses().SetOutput(std::move(task.output)); });
  SPADE_ASSIGN_OR_RETURN(const InferenceEngine::RequestHandle handle,
                         SubmitInference(model->engine, std::move(task.request),
                                         std::make_shared<Sink>(shared_from_this(), key)));
  Bind(key, model->engine, handle);
  return absl::OkStatus();
}

}  // namespace spade
