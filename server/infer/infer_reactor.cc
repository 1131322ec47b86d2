#include "server/infer/infer_reactor.h"

#include <utility>

#include "engine/base/status_macros.h"

namespace spade {

class InferReactor::Sink final : public GenerateSink, public DecideSink {
 public:
  explicit Sink(std::shared_ptr<InferReactor> call) : call_(std::move(call)) {}

  void OnDelta(GenerateDelta delta) override {
    std::lock_guard lock(call_->mutex_);
    call_->responses_.output().Add(delta);
  }
  void OnDecision(DecisionKind kind, const Decision& decision) override {
    std::lock_guard lock(call_->mutex_);
    call_->responses_.output().Add(kind, decision);
  }
  void OnDone(const absl::Status& status) override { call_->Complete(status); }

 private:
  const std::shared_ptr<InferReactor> call_;
};

InferReactor::InferReactor(const ServiceContext& service, grpc::CallbackServerContext* context,
                           const ::inference::ModelInferRequest& request,
                           ::inference::ModelInferResponse* response)
    : service_(service),
      deadline_(DeadlineOf(*context)),
      response_(response),
      call_(std::in_place, service, RpcMethod::kModelInfer, *context),
      responses_(request) {}

InferReactor* InferReactor::Start(const ServiceContext& service,
                                  grpc::CallbackServerContext* context,
                                  const ::inference::ModelInferRequest& request,
                                  ::inference::ModelInferResponse* response) {
  std::shared_ptr<InferReactor> call(new InferReactor(service, context, request, response));
  call->self_ = call;
  absl::Status status = call->call_->admitted();
  if (status.ok()) status = call->Submit(request);
  if (!status.ok()) {
    call->outcome_ = status;
    call->Resume();  // the engine has nothing of it
  }
  return call.get();
}

absl::Status InferReactor::Submit(const ::inference::ModelInferRequest& request) {
  SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service_.state->Accept());
  const auto admit = [&](auto& converted) -> absl::Status {
    SPADE_RETURN_IF_ERROR(call_->Own(converted.context));
    call_->set_request_id(converted.context.id);
    return model->engine->CheckQueue(converted);
  };
  SPADE_ASSIGN_OR_RETURN(InferTask task,
                         PrepareInference(*model, request, /*streaming=*/false, deadline_, admit));
  responses_.SetOutput(std::move(task.output));
  SPADE_ASSIGN_OR_RETURN(
      const InferenceEngine::RequestHandle handle,
      SubmitInference(model->engine, std::move(task.request), std::make_shared<Sink>(self_)));
  bool cancel;
  {
    std::lock_guard lock(mutex_);
    engine_ = model->engine;
    handle_ = handle;
    cancel = cancelled_;
  }
  if (cancel) model->engine->Cancel(handle);
  return absl::OkStatus();
}

void InferReactor::Complete(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  outcome_ = status;
  service_.writes->Post(self_);  // once
}

void InferReactor::Resume() {
  MakeInferResponse make;
  {
    std::lock_guard lock(mutex_);
    if (outcome_->ok() && !responses_.empty()) make = responses_.Take();
  }
  if (make) *response_ = make();
  grpc::Status status;
  {
    std::lock_guard lock(mutex_);
    status = call_->End(cancelled_ ? CancelStatus(deadline_) : *outcome_);
  }
  Finish(std::move(status));
}

// The engine's answer to it ends the call.
void InferReactor::OnCancel() {
  InferenceEngine* engine;
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    engine = outcome_.has_value() ? nullptr : engine_;
  }
  if (engine != nullptr) engine->Cancel(handle_);
}

void InferReactor::OnDone() {
  call_.reset();
  const auto self = std::move(self_);
}

}  // namespace spade
