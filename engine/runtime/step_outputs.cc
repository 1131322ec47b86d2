// StepRunner after the last stage: labels' logits, prompt scores, draws.
#include <algorithm>
#include <functional>
#include <utility>

#include "engine/runtime/step_rows.h"
#include "engine/runtime/step_runner.h"

namespace spade {
namespace {

// Where a draft stands after the row, it holds if full depth gave the same token.
void CompareDraft(StepItem& item, int32_t position, TokenId token) {
  const int32_t next = position + 1;
  if (next == item.sequence->length()) return;
  if (token == item.sequence->tokens[static_cast<size_t>(next)]) {
    ++item.num_accepted;
  } else {
    item.draft_failed = true;
  }
}

}  // namespace

ScoredRows RowsToScore(const StepItem& item) {
  const int32_t last = item.rows.first + item.rows.count;
  if (item.generated == nullptr || item.generated->index() != 0) return {last, last};
  const Generation& generation = *item.request->generation;
  if (!generation.scores_prompt()) return {last, last};
  const ScoredRows rows{std::max(item.rows.first, generation.next_score() - 1),
                        std::min(last, item.sequence->num_prompt() - 1)};
  return rows.begin < rows.end ? rows : ScoredRows{last, last};
}

int32_t WantedRows(const StepItem& item) {
  const int32_t last = item.rows.first + item.rows.count;
  return last - std::min(RowsToScore(item).begin, item.rows.samples ? last - 1 : last);
}

RowUse UseOf(const StepItem& item, int32_t position) {
  if (position + 1 < item.sequence->num_prompt()) return RowUse::kPromptScore;
  if (item.draft_failed) return RowUse::kNothing;
  const EarlyTokens* early = item.generated->early();
  return early != nullptr && early->taken() ? RowUse::kComparison : RowUse::kToken;
}

// The model's rows are the wanted ones: the riders', then the SPADE rows.
void StepRunner::ListOutputs(std::span<const StepItem> items) {
  token_rows_.clear();
  label_rows_.clear();
  int32_t row = 0;
  for (const Rider& rider : riders_) {
    const StepItem& item = items[static_cast<size_t>(rider.item)];
    std::vector<OutputRow>& outputs = item.generated != nullptr ? token_rows_ : label_rows_;
    for (int32_t position = rider.end() - rider.wanted; position < rider.end(); ++position) {
      outputs.push_back({row++, rider.item, position, -1});
    }
  }
  for (const SpadeRow& spade : spades_) label_rows_.push_back({row++, spade.item, 0, spade.probe});
  SPADE_CHECK(row == batch_.rows());
}

// One call of the head for neighbours that ask for the same labels.
void StepRunner::TakeLabels(std::span<StepItem> items) {
  const auto decision_of = [&](const OutputRow& output) -> DecisionState& {
    return *items[static_cast<size_t>(output.item)].request->decision;
  };
  for (size_t begin = 0; begin < label_rows_.size();) {
    const std::vector<TokenId>& labels = decision_of(label_rows_[begin]).request().labels;
    size_t end = begin;
    rows_.clear();
    while (end < label_rows_.size() &&
           end - begin < static_cast<size_t>(options_.max_output_rows) &&
           decision_of(label_rows_[end]).request().labels == labels) {
      rows_.push_back(label_rows_[end++].row);
    }
    const float* logits = model_->LogitsOf(rows_, labels);
    for (; begin < end; ++begin, logits += labels.size()) {
      DecisionState& decision = decision_of(label_rows_[begin]);
      const int32_t probe = label_rows_[begin].probe;
      const std::span<float> place = probe < 0 ? std::span<float>(decision.label_logits())
                                               : decision.probe_logits(static_cast<size_t>(probe));
      std::copy_n(logits, labels.size(), place.begin());
    }
  }
}

// In slices, so that the logits' memory is bounded when every prompt row has some.
void StepRunner::DrawTokens(std::span<StepItem> items) {
  const auto slice = static_cast<size_t>(options_.max_output_rows);
  for (size_t begin = 0; begin < token_rows_.size(); begin += slice) {
    const size_t end = std::min(begin + slice, token_rows_.size());
    const std::span<const OutputRow> outputs = std::span(token_rows_).subspan(begin, end - begin);
    rows_.clear();
    for (const OutputRow& output : outputs) rows_.push_back(output.row);
    if (backend_->logit_reader() != nullptr) {
      DrawFromBackend(outputs, items);
    } else {
      DrawFromHost(outputs, items);
    }
  }
  for (StepItem& item : items) {
    if (resuming_) break;
    const ScoredRows scored = RowsToScore(item);
    if (scored.begin < scored.end) item.request->generation->set_next_score(scored.end + 1);
  }
}

// The rows of one item are used in order, by one worker.
void StepRunner::DrawFromHost(std::span<const OutputRow> outputs, std::span<StepItem> items) {
  groups_.clear();
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (i == 0 || outputs[i].item != outputs[i - 1].item) groups_.push_back(i);
  }
  groups_.push_back(outputs.size());
  const Backend::TimeMark begin = backend_->MarkTime();
  const float* logits = model_->Logits(rows_);
  NoteSpan(model_->num_stages() + kHeadCost, std::ssize(rows_), begin);
  const auto vocab = static_cast<size_t>(model_->config().vocab_size);
  const auto count = static_cast<int64_t>(groups_.size()) - 1;
  const int64_t lanes = std::min(kSamplerLanes, count);
  const auto draw = [&](int64_t lane) {
    for (int64_t group = lane; group < count; group += lanes) {
      const auto first = static_cast<size_t>(group);
      for (size_t i = groups_[first]; i < groups_[first + 1]; ++i) {
        UseLogits(items[static_cast<size_t>(outputs[i].item)], outputs[i].position,
                  std::span(logits + i * vocab, vocab),
                  scratch_[static_cast<size_t>(lane)].sampler);
      }
    }
  };
  backend_->ParallelFor(lanes, std::ref(draw));
}

void StepRunner::UseLogits(StepItem& item, int32_t position, std::span<const float> logits,
                           SamplerScratch& scratch) {
  const GenerateRequest& request = item.request->generation->request();
  const RowUse use = UseOf(item, position);
  SampledToken token;
  switch (use) {
    case RowUse::kNothing:
      return;
    case RowUse::kPromptScore:
      token = Score(logits, request.context.prompt[static_cast<size_t>(position) + 1],
                    *request.prompt_logprobs, scratch);
      break;
    case RowUse::kComparison:
      token.id = static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
      break;
    case RowUse::kToken:
      token = item.generated->Draw(logits, position + 1, scratch);
  }
  UseAnswer(item, position, use, std::move(token));
}

void UseAnswer(StepItem& item, int32_t position, RowUse use, SampledToken token) {
  switch (use) {
    case RowUse::kNothing:
      return;
    case RowUse::kPromptScore:
      item.request->generation->prompt_scores()[static_cast<size_t>(position)] = std::move(token);
      return;
    case RowUse::kComparison:
      item.full_token = token.id;
      return;
    case RowUse::kToken:
      CompareDraft(item, position, item.generated->Add(std::move(token)));
  }
}

}  // namespace spade
