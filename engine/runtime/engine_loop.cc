#include "engine/runtime/engine_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <new>
#include <tuple>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_format.h"
#include "engine/base/reason.h"

namespace spade {
namespace {

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
      .count();
}

SequenceSpec SpecOf(const RequestContext& context, int32_t max_tokens) {
  SequenceSpec spec;
  spec.prompt = context.prompt;
  spec.max_tokens = max_tokens;
  spec.priority = context.priority;
  spec.tenant = context.tenant;
  spec.cache_salt = context.cache_salt;
  return spec;
}

// The boundary at which each exit of the calibration lies.
std::vector<int32_t> BoundariesOf(const TokenCalibration& calibration, const StagedModel& model) {
  std::vector<int32_t> boundaries;
  for (const TokenExit& exit : calibration.exits) {
    int32_t boundary = 1;
    while (model.stage(boundary - 1).last != exit.layer) ++boundary;
    boundaries.push_back(boundary);
  }
  return boundaries;
}

}  // namespace

absl::Status OutOfMemory() {
  return WithReason(absl::ResourceExhaustedError("out of memory: retry later"), Reason::kMemory);
}

EngineLoop::EngineLoop(EngineParts* parts, RequestQueue* queue, EngineMetrics* metrics,
                       RequestLog* log, double shadow_share)
    : parts_(*parts),
      queue_(*queue),
      metrics_(*metrics),
      log_(*log),
      shadows_(shadow_share, parts->info.config.num_layers, &parts->runner->rules(),
               &metrics->exits()) {
  if (shadow_share > 0) parts_.runner->set_sampler([this] { return shadows_.Sample(); });
  // Without draft points there is nothing to choose from.
  const auto& calibration = parts_.info.token_calibration;
  if (calibration && !calibration->drafts.empty()) {
    drafts_.emplace(&*calibration, BoundariesOf(*calibration, *parts_.model),
                    parts_.runner->max_parked());
  }
  Beat();
  thread_ = std::thread([this] { Run(); });
}

EngineLoop::~EngineLoop() {
  queue_.Stop();
  thread_.join();
}

EngineStats EngineLoop::Stats() const {
  EngineStats stats;
  const RequestQueue::Counts counts = queue_.counts();
  stats.running = counts.running;
  stats.waiting = counts.waiting;
  stats.kv_blocks = parts_.kv->num_blocks();
  stats.kv_blocks_in_use = blocks_in_use_.load(std::memory_order_relaxed);
  stats.idle = idle_.load(std::memory_order_relaxed);
  const int64_t age_ns = NowNs() - last_beat_ns_.load(std::memory_order_relaxed);
  stats.seconds_since_step =
      stats.idle ? 0.0 : static_cast<double>(std::max<int64_t>(age_ns, 0)) * 1e-9;
  return stats;
}

// ---- The loop

void EngineLoop::Run() {
  while (true) {
    queue_.Take(&commands_);
    Apply();
    EndExpired();
    if (stopping_) return;
    StartShadow();
    const StepPlan& plan = parts_.scheduler->Plan();
    if (plan.empty()) {
      Sleep();
      continue;
    }
    idle_.store(false, std::memory_order_relaxed);  // where no sleep came before the first step
    RunStep(plan);
    Beat();
  }
}

void EngineLoop::Apply() {
  for (auto& request : commands_.submitted) Start(std::move(request));
  for (const RequestId id : commands_.cancelled) {
    End(id, absl::CancelledError("the caller cancelled the request"));
  }
  for (const QueueShares::Shed& shed : commands_.shed) EndDisplaced(shed);
  if (commands_.abort || commands_.stop) EndAll();
  stopping_ = commands_.stop;
  commands_.submitted.clear();
  commands_.cancelled.clear();
  commands_.shed.clear();
  commands_.abort = false;
  commands_.stop = false;
}

void EngineLoop::EndExpired() {
  if (deadlines_.empty() && queue_deadlines_.empty()) return;
  const Clock::time_point now = Clock::now();
  while (!queue_deadlines_.empty() && queue_deadlines_.begin()->first <= now) {
    const auto [since, id] = *queue_deadlines_.begin();
    const double waited = SecondsBetween(requests_.at(id)->context().arrival, now);
    End(id, RetryLater(absl::StrFormat("the request waited for %.1f s, as long as it may: retry "
                                       "later, or raise max_queue_time",
                                       waited),
                       Reason::kQueueTime, queue_.RetryAfter()));
  }
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const RequestId id = deadlines_.begin()->second;
    const bool scheduled = requests_.at(id)->scheduled;
    End(id, WithReason(absl::DeadlineExceededError(
                           scheduled ? "the deadline passed while the request ran"
                                     : "the deadline passed while the request waited"),
                       scheduled ? Reason::kDeadlineRuns : Reason::kDeadlineWaits));
  }
}

void EngineLoop::EndAll() {
  while (!requests_.empty()) {
    End(requests_.begin()->first,
        WithReason(absl::UnavailableError("the server shut down before the request was finished"),
                   Reason::kShutDown),
        /*aborted=*/true);
  }
}

// Of the tenant's waiting requests, those that would have come last.
void EngineLoop::EndDisplaced(const QueueShares::Shed& shed) {
  std::vector<std::tuple<int32_t, RequestId, int64_t>> waiting;
  for (const auto& [id, request] : requests_) {
    const RequestContext& context = request->context();
    if (request->scheduled || context.tenant != shed.tenant) continue;
    waiting.emplace_back(context.priority, id, static_cast<int64_t>(context.prompt.size()));
  }
  std::sort(waiting.rbegin(), waiting.rend());
  int32_t requests = 0;
  int64_t freed = 0;
  for (const auto& [priority, id, tokens] : waiting) {
    if (requests >= shed.requests && freed >= shed.tokens) break;
    End(id, RetryLater("the queue is full, and other tenants hold less of it: retry later",
                       Reason::kDisplaced, queue_.RetryAfter()));
    ++requests;
    freed += tokens;
  }
  queue_.OnShed(shed);
}

std::optional<Clock::time_point> EngineLoop::NextDeadline() const {
  std::optional<Clock::time_point> next;
  for (const Deadlines* deadlines : {&deadlines_, &queue_deadlines_}) {
    if (deadlines->empty()) continue;
    const Clock::time_point first = deadlines->begin()->first;
    next = std::min(next.value_or(first), first);
  }
  return next;
}

void EngineLoop::Sleep() {
  Publish();
  // With requests in the house, nothing to run is a hang, and must look like one.
  idle_.store(requests_.empty(), std::memory_order_relaxed);
  queue_.Wait(NextDeadline());
  Beat();
  idle_.store(false, std::memory_order_relaxed);
}

// ---- Life of a request

// Between two steps nothing is half done, so one that memory does not suffice for can be refused.
void EngineLoop::Start(std::unique_ptr<RequestState> request) {
  const RequestId id = request->id;
  absl::Status status;
  try {
    status = TakeIn(request);
  } catch (const std::bad_alloc&) {
    status = out_of_memory_;
  }
  if (status.ok()) return;
  if (request == nullptr) return End(id, status);
  Close(std::move(request), status, /*aborted=*/false);
}

// Where it fails before the request is listed, the request stays the caller's.
absl::Status EngineLoop::TakeIn(std::unique_ptr<RequestState>& request) {
  RequestState* const state = request.get();
  requests_.try_emplace(state->id).first->second = std::move(request);
  if (state->context().deadline) deadlines_.emplace(*state->context().deadline, state->id);
  if (state->queue_deadline) queue_deadlines_.emplace(*state->queue_deadline, state->id);
  return AddSequences(state);
}

void EngineLoop::StartShadow() {
  std::unique_ptr<RequestState> shadow = shadows_.Start();
  if (shadow == nullptr) return;
  shadow->id = next_shadow_id_++;
  shadow->scheduled = true;  // it never was among the waiting
  Start(std::move(shadow));
}

absl::Status EngineLoop::AddSequences(RequestState* request) {
  if (request->decision) {
    SequenceSpec spec = SpecOf(request->context(), /*max_tokens=*/0);
    spec.whole_prompt = true;
    spec.may_leave = request->decision->may_exit() && !request->decision->parks();
    spec.background = request->is_shadow;
    return AddSequence(request, std::move(spec));
  }
  Generation& generation = *request->generation;
  // Where the first sequence scores the prompt it shares no block: the second takes its place.
  const size_t first_sharer = generation.scores_prompt() ? 1 : 0;
  for (size_t i = 0; i < generation.sequences().size(); ++i) {
    SequenceSpec spec = SpecOf(request->context(), generation.sequences()[i]->max_tokens());
    spec.use_prefix_cache = i >= first_sharer;
    if (i > first_sharer) spec.share_prefix_of = request->sequences[first_sharer];
    if (absl::Status status = AddSequence(request, std::move(spec)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status EngineLoop::AddSequence(RequestState* request, SequenceSpec spec) {
  const absl::StatusOr<SequenceId> id = parts_.scheduler->Add(std::move(spec));
  if (!id.ok()) return id.status();
  absl::Cleanup remove = [&] { parts_.scheduler->Remove(*id); };
  request->sequences.reserve(request->sequences.size() + 1);
  owners_.emplace(*id, Owner{request, static_cast<int32_t>(request->sequences.size())});
  std::move(remove).Cancel();
  request->sequences.push_back(*id);
  ++request->num_unfinished;
  return absl::OkStatus();
}

// The one way out of the house: frees what the request holds, then tells its sink.
void EngineLoop::End(RequestId id, const absl::Status& status, bool aborted) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  std::unique_ptr<RequestState> request = std::move(found->second);
  requests_.erase(found);
  Close(std::move(request), status, aborted);
}

void EngineLoop::Close(std::unique_ptr<RequestState> request, const absl::Status& status,
                       bool aborted) {
  for (const SequenceId sequence : request->sequences) {
    const auto owner = owners_.find(sequence);
    if (owner == owners_.end()) continue;
    if (GeneratedSequence* generated = GeneratedBy(owner->second)) {
      parts_.runner->DropParked(*generated);
    }
    owners_.erase(owner);
    parts_.scheduler->Remove(sequence);
  }
  if (request->context().deadline) deadlines_.erase({*request->context().deadline, request->id});
  LeaveWaiting(request.get(), /*scheduled=*/false);
  blocks_in_use_.store(parts_.pool->num_in_use(), std::memory_order_relaxed);
  if (request->is_shadow) return shadows_.Finish(*request->decision, status.ok());
  Note(*request, status);
  if (request->generation) {
    request->generation->sink().OnDone(status);
  } else {
    request->decision->sink().OnDone(status);
  }
  request.reset();
  queue_.Leave(aborted);
}

// A record that there is no memory for is left out.
void EngineLoop::Note(const RequestState& request, const absl::Status& status) {
  const Clock::time_point now = Clock::now();
  metrics_.OnEnded(request, status.code(), now);
  try {
    if (log_.keeps()) log_.Add(RecordOf(request, status, now));
    spdlog::debug("request ended id={} code={}", request.context().id,
                  absl::StatusCodeToString(status.code()));
  } catch (const std::bad_alloc&) {
  }
}

GeneratedSequence* EngineLoop::GeneratedBy(const Owner& owner) {
  if (!owner.request->generation) return nullptr;
  return owner.request->generation->sequences()[static_cast<size_t>(owner.index)].get();
}

void EngineLoop::LeaveWaiting(RequestState* request, bool scheduled) {
  if (request->scheduled) return;
  request->scheduled = true;
  if (request->queue_deadline) queue_deadlines_.erase({*request->queue_deadline, request->id});
  queue_.LeaveWaiting(request->context(), scheduled);
}

void EngineLoop::Publish() {
  const int32_t in_use = parts_.pool->num_in_use();
  blocks_in_use_.store(in_use, std::memory_order_relaxed);
  const RequestQueue::Counts counts = queue_.counts();
  metrics_.OnLoad({counts.running, counts.waiting, in_use});
  facts_.running.store(counts.running, std::memory_order_relaxed);
  facts_.waiting.store(counts.waiting, std::memory_order_relaxed);
}

void EngineLoop::Beat() { last_beat_ns_.store(NowNs(), std::memory_order_relaxed); }

}  // namespace spade
