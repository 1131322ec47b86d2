#include "server/decide_stream_reactor.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "server/field_check.h"
#include "server/response_convert.h"

namespace spade {

class DecideStreamReactor::Sink final : public DecideSink {
 public:
  Sink(std::shared_ptr<DecideStreamReactor> stream, Key key, std::string id,
       DecisionConverter converter)
      : stream_(std::move(stream)),
        key_(key),
        id_(std::move(id)),
        converter_(std::move(converter)) {}

  void OnDecision(DecisionKind kind, const Decision& decision) override {
    stream_->Update(key_,
                    [&](DecideBuffer& lane) { lane.Add(converter_.Convert(kind, decision)); });
  }
  void OnDone(const absl::Status& status) override {
    stream_->Unregister(id_);
    stream_->CountFailure(status);
    stream_->Close(key_, [&](DecideBuffer& lane) {
      if (!status.ok()) lane.Add(converter_.Error(status, stream_->service().random));
    });
  }

 private:
  const std::shared_ptr<DecideStreamReactor> stream_;
  const Key key_;
  const std::string id_;
  DecisionConverter converter_;
};

void DecideStreamReactor::Handle(const v1::DecideRequest& request) {
  const Key key = Open({});
  const absl::Status status = Submit(request, key);
  CountFailure(status);
  if (status.ok()) return;
  Close(key, [&](DecideBuffer& lane) {
    // An id that is too long is one of the errors; it may be held for as long as nobody reads.
    lane.Add(DecisionConverter({}, request.request_id().substr(0, kMaxRequestIdBytes), 0)
                 .Error(status, service().random));
  });
}

absl::Status DecideStreamReactor::Submit(const v1::DecideRequest& request, Key key) {
  SPADE_RETURN_IF_ERROR(Admit(key));
  SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service().state->Accept());
  const std::string& id = request.request_id();
  if (id.empty()) return FieldError("request_id", "answers are matched by it; must not be empty");
  const auto admit = [&](DecideRequest& converted) { return Prepare(model, converted); };
  SPADE_ASSIGN_OR_RETURN(DecideRequest converted, model->converter.Convert(request, admit));
  SPADE_RETURN_IF_ERROR(Register(id));
  DecisionConverter converter(request, id, model->engine->info().config.num_layers);
  const auto handle = model->engine->Decide(
      std::move(converted),
      std::make_shared<Sink>(shared_from_this(), key, id, std::move(converter)));
  if (!handle.ok()) {
    Unregister(id);
    return handle.status();
  }
  Bind(key, model->engine, *handle);
  return absl::OkStatus();
}

absl::Status DecideStreamReactor::Register(const std::string& id) {
  std::lock_guard lock(ids_mutex_);
  if (ids_.insert(id).second) return absl::OkStatus();
  return absl::AlreadyExistsError("request_id: already in flight on this stream");
}

void DecideStreamReactor::Unregister(const std::string& id) {
  std::lock_guard lock(ids_mutex_);
  ids_.erase(id);
}

}  // namespace spade
