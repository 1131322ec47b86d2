#include "engine/runtime/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "engine/base/reason.h"
#include "engine/base/status_macros.h"
#include "engine/runtime/engine_loop.h"
#include "engine/runtime/engine_metrics.h"
#include "engine/runtime/engine_parts.h"
#include "engine/runtime/exit_permit.h"
#include "engine/runtime/label_scoring.h"
#include "engine/runtime/request_queue.h"
#include "engine/runtime/validate.h"

namespace spade {
namespace {

// One request that memory does not suffice for must not end the process. (In a step it would: that
// cannot be left in the middle.)
template <typename Function>
auto OrOutOfMemory(Function function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

template <typename Request>
RequestRecord RecordOf(const Request& request) {
  RequestRecord record = spade::RecordOf(request.context, request.mode);
  record.decides = std::is_same_v<Request, DecideRequest>;
  return record;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(const EngineOptions& options, std::unique_ptr<EngineParts> parts,
       prometheus::Registry* registry)
      : parts_(std::move(parts)),
        metrics_(registry, {options.model_name, parts_->info.config.num_layers,
                            parts_->info.max_context, options.max_queued_requests,
                            parts_->kv->num_blocks(), options.block_size, options.prefix_cache}),
        queue_({options.max_queued_requests, options.max_queued_tokens}, options.tenant_weights),
        max_queue_time_(options.max_queue_time),
        log_(static_cast<size_t>(std::max(options.max_recent_requests, 0))),
        loop_(parts_.get(), &queue_, &metrics_, &log_, options.shadow_share) {}

  const EngineParts& parts() const { return *parts_; }
  RequestQueue& queue() { return queue_; }
  EngineLoop& loop() { return loop_; }
  const RequestLog& log() const { return log_; }

  absl::StatusOr<RequestHandle> Generate(GenerateRequest request,
                                         std::shared_ptr<GenerateSink> sink) {
    SPADE_RETURN_IF_ERROR(Check(request));
    if (!request.max_tokens) {
      request.max_tokens =
          Limits().max_context - static_cast<int32_t>(request.context.prompt.size());
    }
    SPADE_ASSIGN_OR_RETURN(const TokenPermit permit, FindPermit(request, parts_->info));
    return SubmitGeneration(std::move(request), std::move(sink), permit);
  }

  absl::StatusOr<RequestHandle> Decide(DecideRequest request, std::shared_ptr<DecideSink> sink) {
    SPADE_RETURN_IF_ERROR(Check(request));
    if (!request.label_sequences.empty()) {
      GenerateRequest scoring = ScoringRequest(request);
      auto scorer = std::make_shared<LabelScorer>(std::move(request), std::move(sink),
                                                  &parts_->info.config, &metrics_);
      return SubmitGeneration(std::move(scoring), std::move(scorer), TokenPermit{});
    }
    SPADE_ASSIGN_OR_RETURN(const ExitPermit permit, FindPermit(request, parts_->info));
    auto state = std::make_unique<RequestState>();
    state->decision = std::make_unique<DecisionState>(std::move(request), std::move(sink), permit);
    return Submit(std::move(state));
  }

  absl::Status CheckQueue(const RequestContext& context) const {
    return queue_.Check(context, QueueDeadline(context));
  }

  // Counts and notes what is refused; what is accepted is noted when it ends.
  void NoteRefusal(RequestRecord record, const absl::Status& status) {
    metrics_.OnRefused(record.decides ? Rpc::kDecide : Rpc::kGenerate, status.code());
    record.code = status.code();
    record.reason = ReasonOf(status);
    log_.Add(std::move(record));
  }

 private:
  RequestLimits Limits() const {
    return {parts_->info.config.vocab_size, parts_->info.max_context};
  }

  absl::StatusOr<RequestHandle> SubmitGeneration(GenerateRequest request,
                                                 std::shared_ptr<GenerateSink> sink,
                                                 TokenPermit permit) {
    auto state = std::make_unique<RequestState>();
    state->generation =
        std::make_unique<Generation>(std::move(request), std::move(sink), parts_->tokenizer.get(),
                                     parts_->info.config.eos_ids, permit);
    return Submit(std::move(state));
  }

  // Before anything is made of a request, for when many are refused.
  absl::Status Check(const auto& request) const {
    SPADE_RETURN_IF_ERROR(Validate(request, Limits()));
    return CheckQueue(request.context);
  }

  absl::StatusOr<RequestHandle> Submit(std::unique_ptr<RequestState> state) {
    const RequestId id = next_id_.fetch_add(1, std::memory_order_relaxed);
    state->id = id;
    state->queue_deadline = QueueDeadline(state->context());
    SPADE_RETURN_IF_ERROR(queue_.Submit(std::move(state)));
    return id;
  }

  // The sooner of the request's own bound and ours.
  std::optional<Clock::time_point> QueueDeadline(const RequestContext& context) const {
    std::optional<Clock::duration> bound = context.max_queue_time;
    if (max_queue_time_.count() > 0)
      bound = std::min<Clock::duration>(bound.value_or(max_queue_time_), max_queue_time_);
    if (!bound) return std::nullopt;
    return context.arrival + *bound;
  }

  std::unique_ptr<EngineParts> parts_;
  EngineMetrics metrics_;
  RequestQueue queue_;
  const std::chrono::milliseconds max_queue_time_;
  RequestLog log_;
  std::atomic<RequestId> next_id_{1};
  EngineLoop loop_;  // last: its thread uses all of the above
};

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options,
                                                       prometheus::Registry* registry) {
  SPADE_ASSIGN_OR_RETURN(std::unique_ptr<EngineParts> parts, LoadEngineParts(options));
  return Create(options, std::move(parts), registry);
}

std::unique_ptr<Engine> Engine::Create(const EngineOptions& options,
                                       std::unique_ptr<EngineParts> parts,
                                       prometheus::Registry* registry) {
  auto impl = std::make_unique<Impl>(options, std::move(parts), registry);
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

const ModelInfo& Engine::info() const { return impl_->parts().info; }
const Tokenizer& Engine::tokenizer() const { return *impl_->parts().tokenizer; }

absl::StatusOr<Engine::RequestHandle> Engine::Generate(GenerateRequest request,
                                                       std::shared_ptr<GenerateSink> sink) {
  return OrOutOfMemory([&] {
    RequestRecord record = RecordOf(request);
    auto handle = impl_->Generate(std::move(request), std::move(sink));
    if (!handle.ok()) impl_->NoteRefusal(std::move(record), handle.status());
    return handle;
  });
}

absl::StatusOr<Engine::RequestHandle> Engine::Decide(DecideRequest request,
                                                     std::shared_ptr<DecideSink> sink) {
  return OrOutOfMemory([&] {
    RequestRecord record = RecordOf(request);
    auto handle = impl_->Decide(std::move(request), std::move(sink));
    if (!handle.ok()) impl_->NoteRefusal(std::move(record), handle.status());
    return handle;
  });
}

template <typename Request>
absl::Status Engine::CheckQueueOf(const Request& request) {
  return OrOutOfMemory([&] {
    absl::Status status = impl_->CheckQueue(request.context);
    if (!status.ok()) impl_->NoteRefusal(RecordOf(request), status);
    return status;
  });
}

absl::Status Engine::CheckQueue(const GenerateRequest& request) { return CheckQueueOf(request); }
absl::Status Engine::CheckQueue(const DecideRequest& request) { return CheckQueueOf(request); }

void Engine::Cancel(RequestHandle handle) { impl_->queue().Cancel(handle); }
void Engine::StopAccepting() { impl_->queue().StopAccepting(); }
int Engine::Drain(std::chrono::milliseconds grace) { return impl_->queue().Drain(grace); }
EngineStats Engine::Stats() const { return impl_->loop().Stats(); }
std::vector<RequestRecord> Engine::RecentRequests(size_t count) const {
  return impl_->log().Last(count);
}
const StepFacts& Engine::facts() const { return impl_->loop().facts(); }

}  // namespace spade
