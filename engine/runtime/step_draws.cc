// StepRunner after the last stage, where logits stay in the backend's memory: what crosses to the
// host is tokens and scores.
#include "engine/runtime/step_rows.h"
#include "engine/runtime/step_runner.h"

namespace spade {

// All rows are asked at once, also those behind a draft that turns out to fail. A row that only the
// host's sampler can answer is copied whole.
void StepRunner::DrawFromBackend(std::span<const OutputRow> outputs, std::span<StepItem> items) {
  const auto item_of = [&](const OutputRow& output) -> StepItem& {
    return items[static_cast<size_t>(output.item)];
  };
  queries_.Clear();
  for (size_t i = 0; i < outputs.size(); ++i) {
    AskRow(item_of(outputs[i]), outputs[i].position, static_cast<int32_t>(i));
  }
  logit_answers_.resize(queries_.queries.size());
  const Backend::TimeMark begin = backend_->MarkTime();
  const Tensor logits = model_->BackendLogits(rows_);
  backend_->logit_reader()->Read(logits, queries_.reading(), logit_answers_);
  NoteSpan(model_->num_stages() + kHeadCost, std::ssize(rows_), begin);
  size_t next = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    StepItem& item = item_of(outputs[i]);
    const int32_t position = outputs[i].position;
    const RowUse use = UseOf(item, position);
    const bool asked =
        next < queries_.queries.size() && queries_.queries[next].row == static_cast<int32_t>(i);
    if (asked) {
      UseAnswer(item, position, use, TokenOf(queries_.queries[next], logit_answers_[next]));
      ++next;
    } else if (use != RowUse::kNothing) {
      const Tensor row = logits.Slice(static_cast<int64_t>(i), 1);
      UseLogits(item, position, {backend_->HostView(row), static_cast<size_t>(row.cols)},
                scratch_[0].sampler);
    }
  }
}

// Adds the row's query, if the backend can answer it.
void StepRunner::AskRow(const StepItem& item, int32_t position, int32_t row) {
  const GenerateRequest& request = item.request->generation->request();
  switch (UseOf(item, position)) {
    case RowUse::kNothing:
      return;
    case RowUse::kPromptScore:
      return AddScore(row, request.context.prompt[static_cast<size_t>(position) + 1],
                      *request.prompt_logprobs, queries_);
    case RowUse::kComparison:
      queries_.queries.push_back({.row = row});
      return;
    case RowUse::kToken:
      (void)item.generated->AddQuery(row, model_->config().vocab_size, position + 1, queries_);
  }
}

}  // namespace spade
