#include "server/generate_reactor.h"

#include <utility>

#include "engine/base/status_macros.h"

namespace spade {

class GenerateReactor::Sink final : public GenerateSink {
 public:
  explicit Sink(std::shared_ptr<GenerateReactor> stream) : stream_(std::move(stream)) {}

  void OnDelta(GenerateDelta delta) override { stream_->Deliver(delta); }
  void OnDone(const absl::Status& status) override { stream_->Complete(status); }

 private:
  const std::shared_ptr<GenerateReactor> stream_;
};

GenerateReactor::GenerateReactor(const ServiceContext& service,
                                 grpc::CallbackServerContext* context,
                                 const v1::GenerateRequest& request)
    : ResponseStream(service, RpcMethod::kGenerate, context,
                     GenerateBuffer(request.output().has_logprobs())) {}

absl::Status GenerateReactor::Submit(const std::shared_ptr<GenerateReactor>& stream,
                                     const v1::GenerateRequest& request) {
  SPADE_ASSIGN_OR_RETURN(const ServedModel* model, stream->service().state->Accept());
  const auto admit = [&](GenerateRequest& converted) { return stream->Prepare(model, converted); };
  SPADE_ASSIGN_OR_RETURN(GenerateRequest converted, model->converter.Convert(request, admit));
  SPADE_ASSIGN_OR_RETURN(
      const InferenceEngine::RequestHandle handle,
      model->engine->Generate(std::move(converted), std::make_shared<Sink>(stream)));
  stream->Bind(model->engine, handle);
  return absl::OkStatus();
}

}  // namespace spade
