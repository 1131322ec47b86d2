#include "engine/runtime/engine_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>

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
  spec.cache_salt = context.cache_salt;
  return spec;
}

Rpc RpcOf(const RequestState& request) {
  return request.generation ? Rpc::kGenerate : Rpc::kDecide;
}

bool LeftEarly(const StepItem& item) {
  return item.generated == nullptr && item.request->decision->exit().has_value();
}

}  // namespace

EngineLoop::EngineLoop(EngineParts* parts, RequestQueue* queue, EngineMetrics* metrics)
    : parts_(*parts), queue_(*queue), metrics_(*metrics) {
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
    const StepPlan& plan = parts_.scheduler->Plan();
    if (plan.empty()) {
      Sleep();
      continue;
    }
    RunStep(plan);
    Beat();
  }
}

void EngineLoop::Apply() {
  for (auto& request : commands_.submitted) Start(std::move(request));
  for (const RequestId id : commands_.cancelled) {
    End(id, absl::CancelledError("the caller cancelled the request"));
  }
  if (commands_.abort || commands_.stop) EndAll();
  stopping_ = commands_.stop;
  commands_.submitted.clear();
  commands_.cancelled.clear();
  commands_.abort = false;
  commands_.stop = false;
}

void EngineLoop::EndExpired() {
  if (deadlines_.empty()) return;
  const Clock::time_point now = Clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const RequestId id = deadlines_.begin()->second;
    const bool scheduled = requests_.at(id)->scheduled;
    End(id,
        absl::DeadlineExceededError(scheduled ? "the deadline passed while the request ran"
                                              : "the deadline passed while the request waited"));
  }
}

void EngineLoop::EndAll() {
  while (!requests_.empty()) {
    End(requests_.begin()->first,
        absl::UnavailableError("the server shut down before the request was finished"),
        /*aborted=*/true);
  }
}

std::optional<Clock::time_point> EngineLoop::NextDeadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
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

void EngineLoop::Start(std::unique_ptr<RequestState> request) {
  RequestState* const state = request.get();
  requests_.emplace(state->id, std::move(request));
  if (state->context().deadline) deadlines_.emplace(*state->context().deadline, state->id);
  if (absl::Status status = AddSequences(state); !status.ok()) End(state->id, status);
}

absl::Status EngineLoop::AddSequences(RequestState* request) {
  if (request->decision) {
    SequenceSpec spec = SpecOf(request->context(), /*max_tokens=*/0);
    spec.whole_prompt = true;
    return AddSequence(request, std::move(spec));
  }
  Generation& generation = *request->generation;
  // Where the first sequence scores the prompt it shares no block: the second takes its place.
  const size_t first_sharer = generation.scores_prompt() ? 1 : 0;
  for (size_t i = 0; i < generation.sequences().size(); ++i) {
    SequenceSpec spec = SpecOf(request->context(), *generation.request().max_tokens);
    spec.use_prefix_cache = i >= first_sharer;
    if (i > first_sharer) spec.share_prefix_of = request->sequences[first_sharer];
    if (absl::Status status = AddSequence(request, std::move(spec)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status EngineLoop::AddSequence(RequestState* request, SequenceSpec spec) {
  const absl::StatusOr<SequenceId> id = parts_.scheduler->Add(std::move(spec));
  if (!id.ok()) return id.status();
  owners_.emplace(*id, Owner{request, static_cast<int32_t>(request->sequences.size())});
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
  for (const SequenceId sequence : request->sequences) {
    if (owners_.erase(sequence) > 0) parts_.scheduler->Remove(sequence);
  }
  if (request->context().deadline) deadlines_.erase({*request->context().deadline, id});
  LeaveWaiting(request.get());
  blocks_in_use_.store(parts_.pool->num_in_use(), std::memory_order_relaxed);
  metrics_.OnEnded(RpcOf(*request), status.code(),
                   SecondsBetween(request->context().arrival, Clock::now()));
  spdlog::debug("request ended id={} code={}", request->context().id,
                absl::StatusCodeToString(status.code()));
  if (request->generation) {
    request->generation->sink().OnDone(status);
  } else {
    request->decision->sink().OnDone(status);
  }
  request.reset();
  queue_.Leave(aborted);
}

void EngineLoop::LeaveWaiting(RequestState* request) {
  if (request->scheduled) return;
  request->scheduled = true;
  queue_.LeaveWaiting(static_cast<int64_t>(request->context().prompt.size()));
}

// ---- A step

void EngineLoop::RunStep(const StepPlan& plan) {
  const Clock::time_point begin = Clock::now();
  drawn_tokens_ = 0;
  MarkScheduled(plan, begin);
  ListItems(plan);
  parts_.runner->Climb(items_);
  Commit(plan);
  StepSample sample;
  sample.rows = plan.num_rows;
  sample.preemptions = static_cast<int32_t>(plan.preempted.size());
  const Clock::time_point climbed = Clock::now();
  bool parked = false;
  for (const StepItem& item : items_) {
    parked |= item.parked;
    if (!item.rows.samples) continue;
    if (item.generated != nullptr) {
      DeliverToken(item, climbed);
    } else {
      DeliverDecision(item, climbed);
    }
  }
  if (parked) FinishParked();
  sample.seconds = SecondsBetween(begin, Clock::now());
  sample.drawn_tokens = drawn_tokens_;
  metrics_.OnStep(sample);
  Publish();
}

void EngineLoop::MarkScheduled(const StepPlan& plan, Clock::time_point now) {
  for (const SequenceId id : plan.admitted) {
    RequestState* const request = owners_.at(id).request;
    if (request->scheduled) continue;
    LeaveWaiting(request);
    if (request->generation) {
      request->generation->set_first_scheduled(now);
    } else {
      request->decision->set_first_scheduled(now);
    }
    const RequestContext& context = request->context();
    metrics_.OnScheduled(SecondsBetween(context.arrival, now),
                         static_cast<int32_t>(context.prompt.size()),
                         parts_.scheduler->Find(id)->cached_tokens);
  }
}

void EngineLoop::ListItems(const StepPlan& plan) {
  items_.clear();
  for (const PlannedRows& rows : plan.rows) {
    const Owner owner = owners_.at(rows.sequence);
    StepItem item;
    item.rows = rows;
    item.sequence = parts_.scheduler->Find(rows.sequence);
    item.request = owner.request;
    if (owner.request->generation) {
      auto& sequences = owner.request->generation->sequences();
      item.generated = sequences[static_cast<size_t>(owner.index)].get();
    } else {
      owner.request->decision->set_rows(item.sequence->cached_tokens, rows.count);
    }
    items_.push_back(item);
  }
}

// Keys and values of decisions that left early are missing at deeper layers: they never count, and
// so never enter the prefix cache.
void EngineLoop::Commit(const StepPlan& plan) {
  if (std::none_of(items_.begin(), items_.end(), LeftEarly)) {
    parts_.scheduler->Commit(plan);
    return;
  }
  committed_.rows.clear();
  for (const StepItem& item : items_) {
    if (!LeftEarly(item)) committed_.rows.push_back(item.rows);
  }
  parts_.scheduler->Commit(committed_);
}

void EngineLoop::DeliverToken(const StepItem& item, Clock::time_point now) {
  RequestState& request = *item.request;
  GeneratedSequence& generated = *item.generated;
  const SequenceId id = item.rows.sequence;
  const TokenId token = generated.drawn().id;
  const auto last = generated.last_token();
  GenerateDelta delta = generated.Take(now, item.sequence->cached_tokens);
  ++drawn_tokens_;
  if (last) {
    metrics_.OnNextToken(SecondsBetween(*last, now));
  } else {
    metrics_.OnFirstToken(SecondsBetween(request.context().arrival, now));
  }
  const bool finished = delta.finish.has_value();
  if (finished) {
    owners_.erase(id);
    parts_.scheduler->Remove(id);
    --request.num_unfinished;
  } else {
    parts_.scheduler->Append(id, token);
  }
  request.generation->sink().OnDelta(std::move(delta));
  if (request.num_unfinished == 0) End(request.id, absl::OkStatus());
}

void EngineLoop::DeliverDecision(const StepItem& item, Clock::time_point now) {
  DecisionState& state = *item.request->decision;
  const DecisionKind kind = item.parked ? DecisionKind::kEarly : DecisionKind::kFinal;
  const Decision decision = state.Answer(state.exit(), parts_.info.config, now);
  metrics_.OnDecision(state.request().mode, kind, decision);
  state.sink().OnDecision(kind, decision);
  if (kind == DecisionKind::kFinal) End(item.request->id, absl::OkStatus());
}

// The early answers are out: their full rows go on now.
void EngineLoop::FinishParked() {
  parts_.runner->RunParked(items_);
  const Clock::time_point now = Clock::now();
  for (const StepItem& item : items_) {
    if (!item.parked) continue;
    DecisionState& state = *item.request->decision;
    const Decision decision = state.Answer(/*exit=*/std::nullopt, parts_.info.config, now);
    metrics_.OnDecision(state.request().mode, DecisionKind::kFinal, decision);
    state.sink().OnDecision(DecisionKind::kFinal, decision);
    End(item.request->id, absl::OkStatus());
  }
}

void EngineLoop::Publish() {
  const int32_t in_use = parts_.pool->num_in_use();
  blocks_in_use_.store(in_use, std::memory_order_relaxed);
  const RequestQueue::Counts counts = queue_.counts();
  metrics_.OnLoad({counts.running, counts.waiting, in_use});
}

void EngineLoop::Beat() { last_beat_ns_.store(NowNs(), std::memory_order_relaxed); }

}  // namespace spade
