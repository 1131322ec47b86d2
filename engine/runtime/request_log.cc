#include "engine/runtime/request_log.h"

#include <algorithm>
#include <utility>

#include "engine/runtime/request_state.h"

namespace spade {
namespace {

void AddGeneration(const Generation& generation, Clock::time_point arrival, RequestRecord* record) {
  if (const auto scheduled = generation.first_scheduled()) {
    record->scheduled_s = SecondsBetween(arrival, *scheduled);
  }
  record->decides = generation.is_forced();
  for (const auto& sequence : generation.sequences()) {
    if (!record->decides) record->output_tokens += sequence->num_output();
    if (sequence->early() != nullptr) record->early_tokens += sequence->early()->stats().exited;
    if (!sequence->first_token()) continue;
    const double first = SecondsBetween(arrival, *sequence->first_token());
    record->first_answer_s = std::min(record->first_answer_s.value_or(first), first);
  }
}

void AddDecision(const DecisionState& decision, Clock::time_point arrival, RequestRecord* record) {
  record->decides = true;
  if (const auto scheduled = decision.first_scheduled()) {
    record->scheduled_s = SecondsBetween(arrival, *scheduled);
  }
  if (decision.exit()) record->exit_layer = decision.exit()->layer;
}

}  // namespace

RequestRecord RecordOf(const RequestContext& context, ExitMode mode) {
  RequestRecord record;
  record.id = context.id;
  record.tenant = context.tenant;
  record.mode = mode;
  record.received = std::chrono::system_clock::now();
  record.prompt_tokens = static_cast<int32_t>(context.prompt.size());
  return record;
}

RequestRecord RecordOf(const RequestState& request, const absl::Status& status,
                       Clock::time_point now) {
  const RequestContext& context = request.context();
  RequestRecord record = RecordOf(context, request.mode());
  record.ended_s = SecondsBetween(context.arrival, now);
  // By the steady clock's distance: the wall clock may have jumped since.
  record.received -=
      std::chrono::duration_cast<std::chrono::system_clock::duration>(now - context.arrival);
  record.code = status.code();
  record.reason = ReasonOf(status);
  record.cached_tokens = request.cached_tokens;
  if (request.generation) {
    AddGeneration(*request.generation, context.arrival, &record);
  } else {
    AddDecision(*request.decision, context.arrival, &record);
    if (status.ok()) record.first_answer_s = record.ended_s;
  }
  return record;
}

void RequestLog::Add(RequestRecord record) {
  if (capacity_ == 0) return;
  std::lock_guard lock(mutex_);
  record.number = ++num_added_;
  if (records_.size() == capacity_) records_.pop_back();
  records_.push_front(std::move(record));
}

std::vector<RequestRecord> RequestLog::Last(size_t count) const {
  std::lock_guard lock(mutex_);
  const auto end = records_.begin() + static_cast<std::ptrdiff_t>(std::min(count, records_.size()));
  return {records_.begin(), end};
}

}  // namespace spade
