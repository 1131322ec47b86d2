#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "engine/base/reason.h"
#include "engine/base/status_macros.h"
#include "server/rpc_call.h"
#include "server/stall_watch.h"

namespace spade {

// The sending half of a server-streaming call that the engine feeds. Buffer: Add(...), empty(),
// bytes(), Take() -> Response; what is added while a write is in flight waits there. A client that
// lets too many bytes wait for too long, or anything for much longer, is cut off.
//
// Called from three sides at once: the engine's thread (Deliver, Complete), the write executor
// (Resume) and gRPC's threads (OnWriteDone, OnCancel, OnDone). Lives until both gRPC (self_) and
// the engine (its shared_ptr) have let go. The mutex guards state only; gRPC and the engine are
// called outside it, which is sound because at most one thread sees itself become the writer, and
// finishing is taken once.
template <typename Response, typename Buffer>
class ResponseStream : public grpc::ServerWriteReactor<Response>, public ResumableStream {
 public:
  // The reactor to hand to gRPC, which owns the stream's life from here on. The request is
  // submitted after gRPC's hold is in place and before gRPC can call back.
  template <typename Stream, typename Request>
  static grpc::ServerWriteReactor<Response>* Start(std::shared_ptr<Stream> stream,
                                                   const Request& request) {
    ResponseStream& base = *stream;
    base.self_ = stream;
    absl::Status status = base.call_->admitted();
    if (status.ok()) status = Stream::Submit(stream, request);
    if (status.ok()) {
      base.service_.stalls->Add(stream);
    } else {
      base.Refuse(status);
    }
    return stream.get();
  }

  void Resume() final {
    bool cut_off;
    {
      std::lock_guard lock(mutex_);
      resume_posted_ = false;
      cut_off = stalled_ && !cancelled_ && !finishing_;
      cutting_off_ = cut_off;
    }
    if (cut_off) CutOff();
    Advance();
  }

  void CheckStall() final {
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    stalled_ = stalled_ || IsStalledLocked();
    if (stalled_) PostLocked();
  }

 protected:
  ResponseStream(const ServiceContext& service, RpcMethod method,
                 grpc::CallbackServerContext* context, Buffer buffer)
      : service_(service),
        context_(context),
        deadline_(DeadlineOf(*context)),
        call_(std::in_place, service, method, *context),
        buffer_(std::move(buffer)) {}

  const ServiceContext& service() const { return service_; }
  const std::optional<Clock::time_point>& deadline() const { return deadline_; }

  // While the request is submitted.
  const Caller& caller() const { return call_->caller(); }

  // Makes the request, whose prompt is still to come, this call's. An error: the call has no right
  // to it, or there is no room for it.
  template <typename EngineRequest>
  absl::Status Prepare(const ServedModel* model, EngineRequest& request) {
    request.context.deadline = deadline_;
    SPADE_RETURN_IF_ERROR(call_->Own(request.context));
    context_->AddInitialMetadata("x-request-id", request.context.id);
    call_->set_request_id(request.context.id);
    return model->engine->CheckQueue(request);
  }

  // Ties the call to the engine's request, so that cancelling one cancels the other.
  void Bind(InferenceEngine* engine, InferenceEngine::RequestHandle handle) {
    bool cancel;
    {
      std::lock_guard lock(mutex_);
      engine_ = engine;
      handle_ = handle;
      cancel = cancelled_ || cancel_wanted_;
    }
    if (cancel) engine->Cancel(handle);
  }

  // Runs configure(buffer), before the engine has the request.
  template <typename Configure>
  void ConfigureBuffer(Configure configure) {
    std::lock_guard lock(mutex_);
    configure(buffer_);
  }

  // Ends the engine's request, whose OnDone then ends the call; one that the engine is yet to get,
  // as soon as it has it.
  void CancelRequest() {
    InferenceEngine* engine;
    {
      std::lock_guard lock(mutex_);
      engine = outcome_.has_value() ? nullptr : engine_;
      cancel_wanted_ = true;
    }
    if (engine != nullptr) engine->Cancel(handle_);
  }

  template <typename... Args>
  void Deliver(Args&&... args) {
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    buffer_.Add(std::forward<Args>(args)...);
    delivered_ = true;
    stalled_ = stalled_ || IsStalledLocked();
    PostLocked();
  }

  void Complete(const absl::Status& status) {
    std::lock_guard lock(mutex_);
    outcome_ = status;
    PostLocked();
  }

 private:
  enum class Action { kNone, kWrite, kFinish };

  void OnWriteDone(bool ok) final {
    {
      std::lock_guard lock(mutex_);
      write_in_flight_ = false;
    }
    if (!ok) Abandon();
    Advance();
  }

  void OnCancel() final {
    Abandon();
    Advance();
  }

  // The engine has nothing of it: the call ends on this thread, without a turn of the executor's.
  void Refuse(const absl::Status& status) {
    {
      std::lock_guard lock(mutex_);
      outcome_ = status;
    }
    Advance();
  }

  void OnDone() final {
    Abandon();  // frees the engine if the transport broke without a cancel
    admission_ = call_->TakeAdmission();
    call_.reset();
    const auto self = std::move(self_);
  }

  // A write that does not end, and too much behind it or no hope.
  bool IsStalledLocked() const {
    if (!write_in_flight_) return false;
    const Clock::duration waits = Clock::now() - write_started_;
    return (buffer_.bytes() > service_.max_unread_bytes && waits > service_.max_stall) ||
           IsHopeless(waits, service_.max_stall);
  }

  // Ends the call against its client's will. The context is there until gRPC calls OnDone, which
  // comes after Finish, and that waits for cutting_off_.
  void CutOff() {
    context_->TryCancel();
    Abandon();
    std::lock_guard lock(mutex_);
    cutting_off_ = false;
  }

  absl::Status EndOfCancelledLocked() const {
    if (stalled_) return StalledStatus();
    const absl::Status status = CancelStatus(deadline_);
    if (!absl::IsDeadlineExceeded(status)) return status;
    return WithReason(status, delivered_ ? Reason::kDeadlineRuns : Reason::kDeadlineWaits);
  }

  // Nobody reads any more.
  void Abandon() {
    InferenceEngine* engine = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (cancelled_) return;
      cancelled_ = true;
      if (!outcome_.has_value()) engine = engine_;
    }
    if (engine != nullptr) engine->Cancel(handle_);
  }

  void PostLocked() {
    if (resume_posted_ || finishing_ || (write_in_flight_ && !stalled_)) return;
    resume_posted_ = true;
    service_.writes->Post(self_);
  }

  void Advance() {
    grpc::Status status;
    switch (NextAction(status)) {
      case Action::kNone:
        break;
      case Action::kWrite:
        this->StartWrite(&current_);
        break;
      case Action::kFinish:
        this->Finish(std::move(status));
        break;
    }
  }

  Action NextAction(grpc::Status& status) {
    std::lock_guard lock(mutex_);
    if (finishing_ || write_in_flight_ || cutting_off_) return Action::kNone;
    if (!cancelled_ && !buffer_.empty()) {
      // The last one too: while it is on its way, a client that does not read can be cut off.
      current_ = buffer_.Take();
      write_in_flight_ = true;
      write_started_ = Clock::now();
      return Action::kWrite;
    }
    if (!cancelled_ && !outcome_.has_value()) return Action::kNone;
    finishing_ = true;
    status = call_->End(cancelled_ ? EndOfCancelledLocked() : *outcome_);
    return Action::kFinish;
  }

  const ServiceContext& service_;
  grpc::CallbackServerContext* const context_;  // gRPC's, until OnDone
  const std::optional<Clock::time_point> deadline_;
  std::shared_ptr<ResumableStream> self_;  // gRPC's hold; let go in OnDone

  std::mutex mutex_;
  std::optional<RpcCall> call_;
  Admission admission_;  // once the call is over: until the engine has let go as well
  Buffer buffer_;
  Response current_;  // being written; gRPC reads it until OnWriteDone
  InferenceEngine* engine_ = nullptr;
  InferenceEngine::RequestHandle handle_ = 0;
  std::optional<absl::Status> outcome_;  // the engine is done
  bool delivered_ = false;               // anything
  bool cancelled_ = false;
  bool cancel_wanted_ = false;
  bool write_in_flight_ = false;
  Clock::time_point write_started_;
  bool stalled_ = false;      // its client does not read
  bool cutting_off_ = false;  // for that
  bool resume_posted_ = false;
  bool finishing_ = false;
};

}  // namespace spade
