// EngineLoop's step: a plan to rows, results to sinks.
#include <algorithm>

#include "engine/runtime/engine_loop.h"
#include "engine/runtime/step_rows.h"

namespace spade {
namespace {

bool HasAnswer(const StepItem& item) {
  return item.generated != nullptr ? !item.generated->DrewNothing()
                                   : item.request->decision->HasAnswer();
}

}  // namespace

void EngineLoop::RunStep(const StepPlan& plan) {
  const Clock::time_point begin = Clock::now();
  drawn_tokens_ = 0;
  facts_.step.fetch_add(1, std::memory_order_relaxed);
  facts_.rows.store(plan.num_rows, std::memory_order_relaxed);
  facts_.sequences.store(static_cast<int32_t>(plan.rows.size()), std::memory_order_relaxed);
  facts_.in_step.store(true, std::memory_order_relaxed);
  MarkScheduled(plan, begin);
  DropPreempted(plan);
  ListItems(plan);
  parts_.runner->Climb(items_);
  Commit();
  StepSample sample;
  sample.rows = plan.num_rows;
  sample.preemptions = static_cast<int32_t>(plan.preempted.size());
  const Clock::time_point climbed = Clock::now();
  bool parked = false;
  for (const StepItem& item : items_) {
    parked |= item.parked;
    if (item.rows.samples && HeldRowOf(item) == nullptr) Deliver(item, climbed);
  }
  if (parked) FinishParked();
  EndUnanswered();
  metrics_.exits().OnClimb(parts_.runner->sample());
  if (drafts_) TuneDrafting();
  sample.seconds = SecondsBetween(begin, Clock::now());
  sample.drawn_tokens = drawn_tokens_;
  metrics_.OnStep(sample);
  facts_.in_step.store(false, std::memory_order_relaxed);
  Publish();
}

void EngineLoop::MarkScheduled(const StepPlan& plan, Clock::time_point now) {
  for (const SequenceId id : plan.admitted) {
    RequestState* const request = owners_.at(id).request;
    if (request->scheduled) continue;
    LeaveWaiting(request, /*scheduled=*/true);
    if (request->generation) {
      request->generation->set_first_scheduled(now);
    } else {
      request->decision->set_first_scheduled(now);
    }
    request->cached_tokens = parts_.scheduler->Find(id)->cached_tokens;
    metrics_.OnScheduled(*request, request->cached_tokens, now);
  }
}

void EngineLoop::ListItems(const StepPlan& plan) {
  items_.clear();
  for (const PlannedRows& rows : plan.rows) {
    const StepItem& item = AddItem(rows);
    if (item.generated == nullptr) {
      item.request->decision->set_rows(item.sequence->cached_tokens, rows.count);
    }
  }
  for (const SequenceId id : plan.held) {
    AddItem({id, parts_.scheduler->Find(id)->length() - 1, 1, /*samples=*/true});
  }
}

const StepItem& EngineLoop::AddItem(const PlannedRows& rows) {
  const Owner owner = owners_.at(rows.sequence);
  StepItem& item = items_.emplace_back();
  item.rows = rows;
  item.sequence = parts_.scheduler->Find(rows.sequence);
  item.request = owner.request;
  item.generated = GeneratedBy(owner);
  item.mode = owner.request->mode();
  return item;
}

// The blocks of what was preempted are gone: its parked rows have nothing to go on with.
void EngineLoop::DropPreempted(const StepPlan& plan) {
  for (const SequenceId id : plan.preempted) {
    if (GeneratedSequence* generated = GeneratedBy(owners_.at(id))) {
      parts_.runner->DropParked(*generated);
    }
  }
}

// Keys and values of decisions that left early are missing at deeper layers: they never count, and
// so never enter the prefix cache, unless their rows go on (FinishParked).
void EngineLoop::Commit() {
  ran_.clear();
  for (const StepItem& item : items_) {
    if (LeftAsDecision(item)) continue;
    if (EarlyOf(item) != nullptr) {
      CommitGenerated(item);
    } else {
      ran_.push_back({item.rows.sequence, item.rows.first + item.rows.count, num_stages()});
    }
  }
  parts_.scheduler->Commit(ran_);
}

// A row that left early is written up to its exit; then, or at full depth, all before it are too.
void EngineLoop::CommitGenerated(const StepItem& item) {
  const SequenceId id = item.rows.sequence;
  const int32_t end = item.rows.first + item.rows.count;
  if (const HeldRow* held = HeldRowOf(item)) {
    ran_.push_back({id, end, held->boundary, /*is_held=*/true});
    return;
  }
  const TokenExitTaken* const exit = TokenExitOf(item);
  if (exit != nullptr && !exit->is_shadowed) {
    if (item.rows.count > 1) ran_.push_back({id, end - 1, num_stages()});
    ran_.push_back({id, end, exit->offer.boundary});
    return;
  }
  if (const int32_t drafted = item.sequence->num_drafts; drafted > 0) {
    if (drafts_) drafts_->Observe(item.num_accepted, item.draft_failed);
    item.generated->early()->OnVerified(drafted, item.num_accepted, end);
    metrics_.exits().OnDrafts(drafted, item.num_accepted);
    parts_.scheduler->ResolveDrafts(id, item.num_accepted);
  }
  ran_.push_back({id, std::min(end, item.sequence->length()), num_stages()});
}

void EngineLoop::Deliver(const StepItem& item, Clock::time_point now) {
  if (!HasAnswer(item)) return unanswered_.push_back(item.request->id);
  if (item.generated == nullptr) return DeliverDecision(item, now);
  const TokenExitTaken* const exit = TokenExitOf(item);
  if (exit == nullptr) return DeliverTokens(item, now);
  const EarlyTokens& early = *item.generated->early();
  if (early.drafts()) return parts_.scheduler->AppendDraft(item.rows.sequence, exit->token);
  if (exit->is_shadowed) shadows_.OnToken(early, *exit, item.full_token);
  DeliverTokens(item, now);
}

void EngineLoop::DeliverTokens(const StepItem& item, Clock::time_point now) {
  RequestState& request = *item.request;
  GeneratedSequence& generated = *item.generated;
  const SequenceId id = item.rows.sequence;
  const auto last = generated.last_token();
  GenerateDelta delta = generated.Take(now, item.sequence->cached_tokens);
  const auto count = static_cast<int32_t>(delta.tokens.size());
  if (!request.generation->is_forced()) {
    CountTokens(item, delta);
    if (last) {
      metrics_.OnNextTokens(SecondsBetween(*last, now), count);
    } else {
      metrics_.OnFirstToken(SecondsBetween(request.context().arrival, now));
    }
  }
  const bool finished = delta.finish.has_value();
  if (finished) {
    Finish(item, *delta.finish);
    owners_.erase(id);
    parts_.scheduler->Remove(id);
    --request.num_unfinished;
  } else {
    parts_.scheduler->Append(id, delta.tokens.back().id);
  }
  request.generation->sink().OnDelta(std::move(delta));
  if (request.num_unfinished == 0) End(request.id, absl::OkStatus());
}

void EngineLoop::CountTokens(const StepItem& item, const GenerateDelta& delta) {
  drawn_tokens_ += static_cast<int32_t>(delta.tokens.size());
  const TokenExitTaken* const exit = TokenExitOf(item);
  const int32_t layer = exit == nullptr ? parts_.info.config.num_layers : exit->offer.layer;
  for (size_t i = 0; i < delta.tokens.size(); ++i) {
    metrics_.exits().OnToken(item.mode, layer, exit == nullptr ? 0.0f : exit->entropy);
  }
}

// What still waits at exits when the sequence ends never runs: that is the compute saved.
void EngineLoop::Finish(const StepItem& item, SequenceFinish& finish) {
  const ModelConfig& config = parts_.info.config;
  const auto dropped = static_cast<double>(parts_.runner->DropParked(*item.generated));
  if (const EarlyTokens* early = item.generated->early(); early != nullptr) {
    finish.early = early->stats();
    finish.early->layer_rows_full = 1.0 * finish.usage.output_tokens * config.num_layers;
  }
  if (item.mode == ExitMode::kFast) {
    finish.early->layer_rows_saved = dropped;
    metrics_.exits().OnRowsDropped(ExitMode::kFast, dropped,
                                   2.0 * static_cast<double>(config.layer_parameters()));
  }
  if (!item.request->generation->is_forced()) metrics_.OnFinished(finish);
}

void EngineLoop::DeliverDecision(const StepItem& item, Clock::time_point now) {
  DecisionState& state = *item.request->decision;
  const DecisionKind kind = item.parked ? DecisionKind::kEarly : DecisionKind::kFinal;
  if (item.request->is_shadow) return End(item.request->id, absl::OkStatus());
  const Decision decision = state.Answer(state.exit(), parts_.info.config, now);
  metrics_.OnFirstToken(SecondsBetween(state.request().context.arrival, now));
  metrics_.exits().OnDecision(state.request().mode, kind, decision);
  if (kind == DecisionKind::kFinal) metrics_.OnDecided(decision);
  if (state.request().mode == ExitMode::kFast && shadows_.Sample()) {
    shadows_.Enqueue(state, decision);
  }
  state.sink().OnDecision(kind, decision);
  if (kind == DecisionKind::kFinal) End(item.request->id, absl::OkStatus());
}

// The early answers are out: their full rows go on now.
void EngineLoop::FinishParked() {
  parts_.runner->RunParked(items_);
  ran_.clear();
  for (const StepItem& item : items_) {
    if (!item.parked) continue;
    ran_.push_back({item.rows.sequence, item.rows.first + item.rows.count, num_stages()});
  }
  parts_.scheduler->Commit(ran_);
  const Clock::time_point now = Clock::now();
  for (const StepItem& item : items_) {
    if (!item.parked) continue;
    DecisionState& state = *item.request->decision;
    if (!state.HasAnswer()) {
      End(item.request->id, NotFinite());
      continue;
    }
    const Decision decision = state.Answer(/*exit=*/std::nullopt, parts_.info.config, now);
    metrics_.exits().OnDecision(state.request().mode, DecisionKind::kFinal, decision);
    metrics_.OnDecided(decision);
    state.sink().OnDecision(DecisionKind::kFinal, decision);
    End(item.request->id, absl::OkStatus());
  }
}

// Not before all items are delivered: several may be of one generation.
void EngineLoop::EndUnanswered() {
  for (const RequestId id : unanswered_) End(id, NotFinite());
  unanswered_.clear();
}

// VERIFIED sequences draft as it pays at the number of them that decode together.
void EngineLoop::TuneDrafting() {
  int64_t num_rows = 0;
  for (const StepItem& item : items_) {
    num_rows += item.mode == ExitMode::kVerified && item.generated != nullptr ? 1 : 0;
  }
  if (num_rows == 0) return;
  drafts_->OnStep(num_rows, parts_.runner->costs(), &parts_.runner->rules().drafting());
}

}  // namespace spade
