#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "server/rpc_call.h"
#include "server/stall_watch.h"

namespace spade {

// A call that carries many requests, answered as they finish. Each request has a lane, which holds
// its unsent responses: empty(), Take() -> Response, or a function that makes it, which runs
// without a lock. Lanes with something to send take turns. Reading stops while kMaxInFlight
// requests are unanswered or unsent, so HTTP/2's flow control holds the client back. A client that
// lets a response wait for very long is cut off. Threading and lifetime as ResponseStream; the
// engine holds the stream through each request's sink.
template <typename Request, typename Response, typename Lane>
class RequestStream : public grpc::ServerBidiReactor<Request, Response>, public ResumableStream {
 public:
  static constexpr size_t kMaxInFlight = 256;

  // gRPC owns the stream's life from here on.
  template <typename Stream>
  static Stream* Start(std::shared_ptr<Stream> stream) {
    RequestStream& base = *stream;
    base.self_ = stream;
    base.outcome_ = base.call_->admitted();
    if (base.outcome_.ok()) base.outcome_ = base.service_.state->Accept().status();
    if (!base.outcome_.ok()) base.reads_done_ = true;
    base.service_.state->WatchDraining(stream);
    base.service_.stalls->Add(stream);
    base.Advance();
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
    if (cancelled_ || !write_in_flight_) return;
    stalled_ = stalled_ || IsHopeless(Clock::now() - write_started_, service_.max_stall);
    if (stalled_) PostLocked();
  }

 protected:
  using Key = uint64_t;

  RequestStream(const ServiceContext& service, RpcMethod method,
                grpc::CallbackServerContext* context)
      : service_(service),
        context_(context),
        deadline_(DeadlineOf(*context)),
        call_(std::in_place, service, method, *context) {}

  const ServiceContext& service() const { return service_; }
  const std::optional<Clock::time_point>& deadline() const { return deadline_; }
  // Of one request: the stream goes on.
  void CountFailure(const absl::Status& status) {
    if (!status.ok()) service_.metrics->Failed(status);
  }

  // While a request is handled: makes it, whose prompt is still to come, this call's. An error: the
  // call has no right to it, or there is no room for it.
  template <typename EngineRequest>
  absl::Status Prepare(const ServedModel* model, EngineRequest& request) const {
    if (!request.context.deadline) request.context.deadline = deadline_;
    SPADE_RETURN_IF_ERROR(call_->Own(request.context));
    return model->engine->CheckQueue(request);
  }

  // Takes on the request that was just read: opens a lane for it, whatever becomes of it. One at a
  // time.
  virtual void Handle(const Request& request) = 0;

  Key Open(Lane lane) {
    std::lock_guard lock(mutex_);
    lanes_.emplace(next_key_, Entry{std::move(lane), Admission(), std::nullopt, false, false});
    return next_key_++;
  }

  // Counts the lane's request at its tenant's limits, until all of it is answered.
  absl::Status Admit(Key key) {
    auto admission = call_->Admit();
    if (!admission.ok()) return admission.status();
    std::lock_guard lock(mutex_);
    lanes_.at(key).admission = *std::move(admission);
    return absl::OkStatus();
  }

  // Ties the lane to the engine's request, so that the end of the call cancels it.
  void Bind(Key key, InferenceEngine* engine, InferenceEngine::RequestHandle handle) {
    bool cancel;
    {
      std::lock_guard lock(mutex_);
      engine_ = engine;
      // The engine may have answered it already.
      if (const auto entry = lanes_.find(key); entry != lanes_.end()) entry->second.handle = handle;
      cancel = cancelled_;
    }
    if (cancel) engine->Cancel(handle);
  }

  // Runs change(lane), which may add responses.
  template <typename Change>
  void Update(Key key, Change change) {
    std::lock_guard lock(mutex_);
    UpdateLocked(key, std::move(change));
  }

  // The same for the last time: no more comes for this request.
  template <typename Change>
  void Close(Key key, Change change) {
    std::lock_guard lock(mutex_);
    const auto entry = lanes_.find(key);
    entry->second.closed = true;
    UpdateLocked(key, std::move(change));
    if (cancelled_ || entry->second.lane.empty()) lanes_.erase(entry);
    PostLocked();  // room to read, or the call's end
  }

 private:
  enum class Action { kNone, kWrite, kFinish };
  using Taken = decltype(std::declval<Lane&>().Take());
  struct Entry {
    Lane lane;
    Admission admission;
    std::optional<InferenceEngine::RequestHandle> handle;  // none yet while the engine is asked
    bool closed;
    bool ready;  // has a turn in ready_
  };

  void OnReadDone(bool ok) final {
    if (ok) Handle(request_);
    {
      std::lock_guard lock(mutex_);
      reading_ = false;
      reads_done_ = reads_done_ || !ok;
    }
    Advance();
  }

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

  void OnDone() final {
    Abandon();
    service_.state->UnwatchDraining(this);
    call_.reset();
    const auto self = std::move(self_);
  }

  template <typename Change>
  void UpdateLocked(Key key, Change change) {
    if (cancelled_) return;
    Entry& entry = lanes_.at(key);
    change(entry.lane);
    if (entry.ready || entry.lane.empty()) return;
    entry.ready = true;
    ready_.push_back(key);
    PostLocked();
  }

  void PostLocked() {
    if (resume_posted_ || finishing_) return;
    resume_posted_ = true;
    service_.writes->Post(self_);
  }

  // As ResponseStream's.
  void CutOff() {
    context_->TryCancel();
    Abandon();
    std::lock_guard lock(mutex_);
    cutting_off_ = false;
  }

  // Nobody reads the answers any more.
  void Abandon() {
    std::vector<InferenceEngine::RequestHandle> handles;
    InferenceEngine* engine;
    {
      std::lock_guard lock(mutex_);
      if (cancelled_) return;
      cancelled_ = true;
      ready_.clear();
      engine = engine_;
      for (const auto& [key, entry] : lanes_) {
        if (!entry.closed && entry.handle.has_value()) handles.push_back(*entry.handle);
      }
    }
    for (const auto handle : handles) engine->Cancel(handle);
  }

  void Advance() {
    grpc::Status status;
    std::optional<Taken> taken;
    switch (NextAction(status, taken)) {
      case Action::kNone:
        break;
      case Action::kWrite:
        if constexpr (std::is_same_v<Taken, Response>) {
          current_ = *std::move(taken);
        } else {
          current_ = (*taken)();
        }
        this->StartWrite(&current_);
        break;
      case Action::kFinish:
        this->Finish(std::move(status));
        return;
    }
    if (!TakeRead()) return;
    this->StartRead(&request_);
    bool waiting;  // for this read to be started
    {
      std::lock_guard lock(mutex_);
      --starting_reads_;
      waiting = cancelled_ || reads_done_ || service_.state->draining();
    }
    if (waiting) Advance();
  }

  Action NextAction(grpc::Status& status, std::optional<Taken>& taken) {
    std::lock_guard lock(mutex_);
    if (finishing_ || write_in_flight_ || cutting_off_) return Action::kNone;
    if (!cancelled_ && !ready_.empty()) {
      taken.emplace(TakeLocked());
      write_in_flight_ = true;
      write_started_ = Clock::now();
      return Action::kWrite;
    }
    // Finishing may leave a read in flight, which then fails, but must not overtake its start.
    if (starting_reads_ > 0) return Action::kNone;
    if (!cancelled_) {
      if (!lanes_.empty()) return Action::kNone;
      if (!reads_done_) {
        const auto accepted = service_.state->Accept();
        if (accepted.ok()) return Action::kNone;
        outcome_ = accepted.status();  // draining, and nothing is left to answer
      }
    }
    finishing_ = true;
    status = call_->End(stalled_     ? StalledStatus()
                        : cancelled_ ? CancelStatus(deadline_)
                                     : outcome_);
    return Action::kFinish;
  }

  Taken TakeLocked() {
    const Key key = ready_.front();
    ready_.pop_front();
    const auto entry = lanes_.find(key);
    Taken taken = entry->second.lane.Take();
    entry->second.ready = !entry->second.lane.empty();
    if (entry->second.ready) {
      ready_.push_back(key);
    } else if (entry->second.closed) {
      lanes_.erase(entry);
    }
    return taken;
  }

  // True: the caller must start a read.
  bool TakeRead() {
    std::lock_guard lock(mutex_);
    if (reading_ || reads_done_ || cancelled_ || finishing_) return false;
    if (lanes_.size() >= kMaxInFlight) return false;
    reading_ = true;
    ++starting_reads_;
    return true;
  }

  const ServiceContext& service_;
  grpc::CallbackServerContext* const context_;  // gRPC's, until OnDone
  const std::optional<Clock::time_point> deadline_;
  std::shared_ptr<ResumableStream> self_;  // gRPC's hold; let go in OnDone
  Request request_;                        // being read
  Response current_;                       // being written

  std::mutex mutex_;
  std::optional<RpcCall> call_;
  InferenceEngine* engine_ = nullptr;
  std::unordered_map<Key, Entry> lanes_;
  std::deque<Key> ready_;
  Key next_key_ = 0;
  absl::Status outcome_;  // of the whole stream
  bool reading_ = false;
  int starting_reads_ = 0;  // threads between deciding on a read and StartRead's return
  bool reads_done_ = false;
  bool cancelled_ = false;
  bool write_in_flight_ = false;
  Clock::time_point write_started_;
  bool stalled_ = false;      // its client does not read
  bool cutting_off_ = false;  // for that
  bool resume_posted_ = false;
  bool finishing_ = false;
};

}  // namespace spade
