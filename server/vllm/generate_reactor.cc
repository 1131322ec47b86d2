#include "server/vllm/generate_reactor.h"

#include <utility>

#include "engine/base/status_macros.h"

namespace spade {

class VllmGenerateReactor::Sink final : public GenerateSink {
 public:
  explicit Sink(std::shared_ptr<VllmGenerateReactor> stream) : stream_(std::move(stream)) {}

  void OnDelta(GenerateDelta delta) override { stream_->Deliver(delta); }
  void OnDone(const absl::Status& status) override {
    if (status.code() != absl::StatusCode::kCancelled) return stream_->Complete(status);
    // Aborted: an end like others to whoever still reads.
    stream_->Deliver(VllmGenerateBuffer::Aborted{});
    stream_->Complete(absl::OkStatus());
  }

 private:
  const std::shared_ptr<VllmGenerateReactor> stream_;
};

VllmGenerateReactor::~VllmGenerateReactor() {
  if (!registered_id_.empty()) registry_->Remove(registered_id_, this);
}

absl::Status VllmGenerateReactor::Submit(const std::shared_ptr<VllmGenerateReactor>& stream,
                                         const vllm_api::GenerateRequest& request) {
  SPADE_ASSIGN_OR_RETURN(const ServedModel* model, stream->service().state->Accept());
  const ModelInfo& info = model->engine->info();
  const auto admit = [&](GenerateRequest& converted) { return stream->Prepare(model, converted); };
  SPADE_ASSIGN_OR_RETURN(GenerateRequest converted,
                         ConvertVllmRequest(request, model->converter, info.max_context, admit));
  stream->ConfigureBuffer([&](VllmGenerateBuffer& buffer) {
    buffer.SetRequest(converted,
                      converted.ignore_eos ? std::vector<TokenId>() : info.config.eos_ids);
  });
  if (!request.request_id().empty()) {  // before the engine has it: an abort may come at once
    stream->registered_id_ = stream->caller().Scoped(request.request_id());
    stream->registry_->Add(stream->registered_id_, stream);
  }
  SPADE_ASSIGN_OR_RETURN(
      const InferenceEngine::RequestHandle handle,
      model->engine->Generate(std::move(converted), std::make_shared<Sink>(stream)));
  stream->Bind(model->engine, handle);
  return absl::OkStatus();
}

}  // namespace spade
