#include "server/decide_stream_reactor.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "server/field_check.h"

namespace spade {

class DecideStreamReactor::Sink final : public DecideSink {
 public:
  Sink(std::shared_ptr<DecideStreamReactor> stream, std::string id, DecisionConverter converter)
      : stream_(std::move(stream)), id_(std::move(id)), converter_(std::move(converter)) {}

  void OnDecision(DecisionKind kind, const Decision& decision) override {
    stream_->Deliver(converter_.Convert(kind, decision));
  }
  void OnDone(const absl::Status& status) override {
    std::optional<v1::DecideResponse> error;
    if (!status.ok()) error = converter_.Error(status);
    stream_->Complete(id_, std::move(error));
  }

 private:
  const std::shared_ptr<DecideStreamReactor> stream_;
  const std::string id_;
  DecisionConverter converter_;
};

DecideStreamReactor::DecideStreamReactor(const ServiceContext& service,
                                         grpc::CallbackServerContext* context)
    : service_(service),
      deadline_(DeadlineOf(*context)),
      call_(std::in_place, service, RpcMethod::kDecideStream) {}

DecideStreamReactor* DecideStreamReactor::Start(const ServiceContext& service,
                                                grpc::CallbackServerContext* context) {
  std::shared_ptr<DecideStreamReactor> stream(new DecideStreamReactor(service, context));
  stream->self_ = stream;
  if (const auto accepted = service.state->Accept(); !accepted.ok()) {
    stream->outcome_ = accepted.status();
    stream->reads_done_ = true;
  }
  service.state->WatchDraining(stream);
  stream->Advance();
  return stream.get();
}

void DecideStreamReactor::Resume() {
  {
    std::lock_guard lock(mutex_);
    resume_posted_ = false;
  }
  Advance();
}

void DecideStreamReactor::OnReadDone(bool ok) {
  if (ok) {
    if (const absl::Status status = Submit(request_); !status.ok()) {
      Deliver(DecisionConverter(request_, request_.request_id(), 0).Error(status));
    }
  }
  {
    std::lock_guard lock(mutex_);
    reading_ = false;
    reads_done_ = reads_done_ || !ok;
  }
  Advance();
}

void DecideStreamReactor::OnWriteDone(bool ok) {
  {
    std::lock_guard lock(mutex_);
    write_in_flight_ = false;
  }
  if (!ok) Abandon();
  Advance();
}

void DecideStreamReactor::OnCancel() {
  Abandon();
  Advance();
}

void DecideStreamReactor::OnDone() {
  Abandon();
  service_.state->UnwatchDraining(this);
  call_.reset();
  const auto self = std::move(self_);
}

absl::Status DecideStreamReactor::Submit(const v1::DecideRequest& request) {
  SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service_.state->Accept());
  const std::string& id = request.request_id();
  if (id.empty()) return FieldError("request_id", "answers are matched by it; must not be empty");
  SPADE_ASSIGN_OR_RETURN(DecideRequest converted, model->converter.Convert(request));
  converted.context.deadline = deadline_;
  SPADE_RETURN_IF_ERROR(Register(id));
  DecisionConverter converter(request, id, model->engine->info().config.num_layers);
  const auto handle = model->engine->Decide(
      std::move(converted), std::make_shared<Sink>(self_, id, std::move(converter)));
  if (!handle.ok()) {
    Complete(id, std::nullopt);
    return handle.status();
  }
  Bind(id, model->engine, *handle);
  return absl::OkStatus();
}

absl::Status DecideStreamReactor::Register(const std::string& id) {
  std::lock_guard lock(mutex_);
  if (active_.emplace(id, std::nullopt).second) return absl::OkStatus();
  return absl::AlreadyExistsError("request_id: already in flight on this stream");
}

void DecideStreamReactor::Bind(const std::string& id, InferenceEngine* engine,
                               InferenceEngine::RequestHandle handle) {
  bool cancel;
  {
    std::lock_guard lock(mutex_);
    engine_ = engine;
    // Reads are serial, so an entry with this id is this request's, or it is answered already.
    if (const auto entry = active_.find(id); entry != active_.end()) entry->second = handle;
    cancel = cancelled_;
  }
  if (cancel) engine->Cancel(handle);
}

void DecideStreamReactor::Deliver(v1::DecideResponse response) {
  std::lock_guard lock(mutex_);
  if (cancelled_) return;
  pending_.push_back(std::move(response));
  PostLocked();
}

void DecideStreamReactor::Complete(const std::string& id, std::optional<v1::DecideResponse> error) {
  std::lock_guard lock(mutex_);
  active_.erase(id);
  if (error.has_value() && !cancelled_) pending_.push_back(*std::move(error));
  PostLocked();
}

void DecideStreamReactor::PostLocked() {
  if (resume_posted_ || finishing_) return;
  resume_posted_ = true;
  service_.writes->Post(self_);
}

// Nobody reads the answers any more.
void DecideStreamReactor::Abandon() {
  std::vector<InferenceEngine::RequestHandle> handles;
  InferenceEngine* engine;
  {
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    cancelled_ = true;
    pending_.clear();
    engine = engine_;
    for (const auto& [id, handle] : active_) {
      if (handle.has_value()) handles.push_back(*handle);
    }
  }
  for (const auto handle : handles) engine->Cancel(handle);
}

void DecideStreamReactor::Advance() {
  grpc::Status status;
  switch (NextAction(status)) {
    case Action::kNone:
      break;
    case Action::kWrite:
      StartWrite(&current_);
      break;
    case Action::kFinish:
      Finish(std::move(status));
      return;
  }
  if (!TakeRead()) return;
  StartRead(&request_);
  bool waiting;  // for this read to be started
  {
    std::lock_guard lock(mutex_);
    --starting_reads_;
    waiting = cancelled_ || reads_done_ || service_.state->draining();
  }
  if (waiting) Advance();
}

DecideStreamReactor::Action DecideStreamReactor::NextAction(grpc::Status& status) {
  std::lock_guard lock(mutex_);
  if (finishing_ || write_in_flight_) return Action::kNone;
  if (!cancelled_ && !pending_.empty()) {
    current_ = std::move(pending_.front());
    pending_.pop_front();
    write_in_flight_ = true;
    return Action::kWrite;
  }
  // Finishing may leave a read in flight, which then fails, but must not overtake its start.
  if (starting_reads_ > 0) return Action::kNone;
  if (!cancelled_) {
    if (!active_.empty()) return Action::kNone;
    if (!reads_done_) {
      const auto accepted = service_.state->Accept();
      if (accepted.ok()) return Action::kNone;
      outcome_ = accepted.status();  // draining, and nothing is left to answer
    }
  }
  finishing_ = true;
  status = call_->End(cancelled_ ? CancelStatus(deadline_) : outcome_);
  return Action::kFinish;
}

// True: the caller must start a read.
bool DecideStreamReactor::TakeRead() {
  std::lock_guard lock(mutex_);
  if (reading_ || reads_done_ || cancelled_ || finishing_) return false;
  if (active_.size() + pending_.size() >= kMaxInFlight) return false;
  reading_ = true;
  ++starting_reads_;
  return true;
}

}  // namespace spade
