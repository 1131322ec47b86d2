#include "server/decide_reactor.h"

#include "engine/base/status_macros.h"
#include "server/response_convert.h"

namespace spade {

class DecideReactor::Sink final : public DecideSink {
 public:
  Sink(std::shared_ptr<DecideReactor> stream, DecisionConverter converter)
      : stream_(std::move(stream)), converter_(std::move(converter)) {}

  void OnDecision(DecisionKind kind, const Decision& decision) override {
    stream_->Deliver(converter_.Convert(kind, decision));
  }
  void OnDone(const absl::Status& status) override { stream_->Complete(status); }

 private:
  const std::shared_ptr<DecideReactor> stream_;
  DecisionConverter converter_;
};

DecideReactor::DecideReactor(const ServiceContext& service, grpc::CallbackServerContext* context)
    : ResponseStream(service, RpcMethod::kDecide, context, DecideBuffer()) {}

absl::Status DecideReactor::Submit(const std::shared_ptr<DecideReactor>& stream,
                                   const v1::DecideRequest& request) {
  SPADE_ASSIGN_OR_RETURN(const ServedModel* model, stream->service().state->Accept());
  const auto admit = [&](DecideRequest& converted) { return stream->Prepare(model, converted); };
  SPADE_ASSIGN_OR_RETURN(DecideRequest converted, model->converter.Convert(request, admit));
  DecisionConverter converter(
      request, request.request_id().empty() ? converted.context.id : request.request_id(),
      model->engine->info().config.num_layers);
  SPADE_ASSIGN_OR_RETURN(
      const InferenceEngine::RequestHandle handle,
      model->engine->Decide(std::move(converted),
                            std::make_shared<Sink>(stream, std::move(converter))));
  stream->Bind(model->engine, handle);
  return absl::OkStatus();
}

}  // namespace spade
