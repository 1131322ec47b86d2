#include "engine/runtime/step_runner.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "engine/base/status_macros.h"

namespace spade {
namespace {

constexpr int64_t kSamplerLanes = 16;  // scratch for as many draws at a time

Tensor RowsOf(const Buffer& buffer, int64_t rows, int64_t hidden_size) {
  return Tensor{buffer.data(), rows, hidden_size, DType::kF32};
}

// Prompt rows [begin, end) of the item whose logits score the prompt token after each.
struct ScoredRows {
  int32_t begin = 0;
  int32_t end = 0;
};

ScoredRows RowsToScore(const StepItem& item) {
  const int32_t last = item.rows.first + item.rows.count;
  if (item.generated == nullptr || item.generated->index() != 0) return {last, last};
  const Generation& generation = *item.request->generation;
  if (!generation.scores_prompt()) return {last, last};
  const ScoredRows rows{std::max(item.rows.first, generation.next_score() - 1),
                        std::min(last, item.sequence->num_prompt() - 1)};
  return rows.begin < rows.end ? rows : ScoredRows{last, last};
}

// The item's last rows whose outputs are needed.
int32_t WantedRows(const StepItem& item) {
  const int32_t last = item.rows.first + item.rows.count;
  return last - std::min(RowsToScore(item).begin, item.rows.samples ? last - 1 : last);
}

}  // namespace

absl::StatusOr<std::unique_ptr<StepRunner>> StepRunner::Create(Backend* backend, StagedModel* model,
                                                               std::span<const KvView> kv,
                                                               const Options& options) {
  auto runner = std::unique_ptr<StepRunner>(new StepRunner());
  runner->backend_ = backend;
  runner->model_ = model;
  runner->kv_ = kv;
  runner->options_ = options;
  runner->scratch_.resize(kSamplerLanes);
  if (options.early_exit) {
    const size_t bytes = RowsOf({}, options.max_rows, model->config().hidden_size).bytes();
    SPADE_ASSIGN_OR_RETURN(runner->parking_, backend->Allocate(bytes));
    SPADE_ASSIGN_OR_RETURN(runner->answers_, backend->Allocate(bytes));
  }
  return runner;
}

void StepRunner::Climb(std::span<StepItem> items) {
  parked_.clear();
  num_parked_rows_ = 0;
  size_t stride = 1;
  for (const StepItem& item : items) stride = std::max(stride, item.sequence->blocks.size());
  table_stride_ = static_cast<int32_t>(stride);
  BeginBatch();
  for (size_t i = 0; i < items.size(); ++i) {
    AddRider(items[i], {static_cast<int32_t>(i), items[i].rows.count, WantedRows(items[i])});
  }
  model_->Begin(batch_);
  for (int32_t stage = 0; stage < model_->num_stages(); ++stage) {
    model_->RunStage(stage, batch_, kv_);
    if (stage + 1 < model_->num_stages()) TakeExits(stage, items);
  }
  ListOutputs(items);
  TakeLabels(items);
  DrawTokens(items);
}

void StepRunner::RunParked(std::span<StepItem> items) {
  // Rows parked at different boundaries need different stages: one climb for each boundary.
  const int64_t hidden_size = model_->config().hidden_size;
  const Tensor parking = RowsOf(parking_, num_parked_rows_, hidden_size);
  for (size_t next = 0; next < parked_.size();) {
    const int32_t stage = parked_[next].stage;
    BeginBatch();
    rows_.clear();
    for (; next < parked_.size() && parked_[next].stage == stage; ++next) {
      const Parked& parked = parked_[next];
      AddRider(items[static_cast<size_t>(parked.rider.item)], parked.rider);
      for (int32_t i = 0; i < parked.rider.count; ++i) rows_.push_back(parked.first + i);
    }
    model_->Begin(batch_);
    backend_->GatherRows(parking, rows_, model_->hidden());
    for (int32_t s = stage; s < model_->num_stages(); ++s) model_->RunStage(s, batch_, kv_);
    ListOutputs(items);
    TakeLabels(items);
  }
}

void StepRunner::BeginBatch() {
  batch_.Clear();
  batch_.table_stride = table_stride_;
  riders_.clear();
  spade_items_.clear();
}

void StepRunner::AddRider(const StepItem& item, Rider rider) {
  const std::vector<BlockId>& blocks = item.sequence->blocks;
  const auto stride = static_cast<size_t>(batch_.table_stride);
  const auto table = static_cast<int32_t>(batch_.block_tables.size() / stride);
  batch_.block_tables.insert(batch_.block_tables.end(), blocks.begin(), blocks.end());
  batch_.block_tables.resize((static_cast<size_t>(table) + 1) * stride, 0);
  const int32_t first_wanted = rider.count - rider.wanted;
  for (int32_t i = 0; i < rider.count; ++i) {
    const int32_t position = item.rows.first + i;
    batch_.ids.push_back(item.sequence->tokens[static_cast<size_t>(position)]);
    batch_.positions.push_back(position);
    batch_.sequences.push_back(table);
    batch_.wants_output.push_back(i >= first_wanted);
  }
  riders_.push_back(rider);
}

// At the boundary after `stage`: who is sure enough leaves.
void StepRunner::TakeExits(int32_t stage, std::span<StepItem> items) {
  rows_.clear();
  candidates_.clear();
  int32_t row = 0;
  for (size_t i = 0; i < riders_.size(); ++i) {
    row += riders_[i].count;
    const StepItem& item = items[static_cast<size_t>(riders_[i].item)];
    if (item.generated != nullptr || !item.rows.samples || !item.request->decision->may_exit()) {
      continue;
    }
    rows_.push_back(row - 1);
    candidates_.push_back(riders_[i].item);
  }
  if (rows_.empty()) return;
  TryExits(stage, items);
  LeaveClimb(stage, items);
}

// Asks the decisions of candidates_, whose answer rows are rows_.
void StepRunner::TryExits(int32_t stage, std::span<StepItem> items) {
  const auto hidden_size = static_cast<size_t>(model_->config().hidden_size);
  const Tensor answers =
      RowsOf(answers_, static_cast<int64_t>(rows_.size()), static_cast<int64_t>(hidden_size));
  backend_->GatherRows(model_->hidden(), rows_, answers);
  const float* hidden = backend_->HostView(answers);
  const int32_t layer = model_->stage(stage).last;
  const auto try_exit = [&](int64_t i) {
    const auto index = static_cast<size_t>(i);
    items[static_cast<size_t>(candidates_[index])].request->decision->TryExit(
        layer, std::span(hidden + index * hidden_size, hidden_size));
  };
  backend_->ParallelFor(static_cast<int64_t>(rows_.size()), std::ref(try_exit));
}

// Riders whose decision has left: the answer row becomes a SPADE row, the others are parked or
// dropped.
void StepRunner::LeaveClimb(int32_t stage, std::span<StepItem> items) {
  keep_.clear();
  to_spade_.clear();
  spade_positions_.clear();
  int32_t row = 0;
  size_t num_staying = 0;
  for (const Rider rider : riders_) {
    StepItem& item = items[static_cast<size_t>(rider.item)];
    const int32_t first = row;
    row += rider.count;
    if (item.generated != nullptr || !item.request->decision->exit()) {
      for (int32_t i = first; i < row; ++i) keep_.push_back(i);
      riders_[num_staying++] = rider;
      continue;
    }
    DecisionState& decision = *item.request->decision;
    to_spade_.push_back(row - 1);
    spade_positions_.push_back(decision.spade_position(item.rows.first + item.rows.count - 1));
    spade_items_.push_back(rider.item);
    item.parked = decision.parks();
    if (item.parked) Park(rider, first, stage + 1);
  }
  if (to_spade_.empty()) return;
  riders_.resize(num_staying);
  model_->MoveToSpade(batch_, keep_, to_spade_, spade_positions_);
}

void StepRunner::Park(const Rider& rider, int32_t first_row, int32_t next_stage) {
  rows_.resize(static_cast<size_t>(rider.count));
  std::iota(rows_.begin(), rows_.end(), first_row);
  const Tensor parking = RowsOf(parking_, options_.max_rows, model_->config().hidden_size);
  backend_->GatherRows(model_->hidden(), rows_, parking.Slice(num_parked_rows_, rider.count));
  parked_.push_back({rider, next_stage, num_parked_rows_});
  num_parked_rows_ += rider.count;
}

// After the last stage the model's rows are the wanted ones: the riders', then the SPADE rows.
void StepRunner::ListOutputs(std::span<const StepItem> items) {
  token_rows_.clear();
  label_rows_.clear();
  int32_t row = 0;
  for (const Rider& rider : riders_) {
    const StepItem& item = items[static_cast<size_t>(rider.item)];
    const int32_t last = item.rows.first + item.rows.count;
    std::vector<OutputRow>& outputs = item.generated != nullptr ? token_rows_ : label_rows_;
    for (int32_t position = last - rider.wanted; position < last; ++position) {
      outputs.push_back({row++, rider.item, position});
    }
  }
  for (const int32_t item : spade_items_) label_rows_.push_back({row++, item, 0});
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
      std::copy_n(logits, labels.size(), decision_of(label_rows_[begin]).label_logits().begin());
    }
  }
}

// In slices, so that the logits' memory is bounded when every prompt row has some.
void StepRunner::DrawTokens(std::span<StepItem> items) {
  const auto vocab = static_cast<size_t>(model_->config().vocab_size);
  const auto slice = static_cast<size_t>(options_.max_output_rows);
  for (size_t begin = 0; begin < token_rows_.size(); begin += slice) {
    const size_t count = std::min(slice, token_rows_.size() - begin);
    rows_.clear();
    for (size_t i = 0; i < count; ++i) rows_.push_back(token_rows_[begin + i].row);
    const float* logits = model_->Logits(rows_);
    const auto lanes = std::min<int64_t>(kSamplerLanes, static_cast<int64_t>(count));
    const auto draw = [&](int64_t lane) {
      for (auto i = static_cast<size_t>(lane); i < count; i += static_cast<size_t>(lanes)) {
        const OutputRow& output = token_rows_[begin + i];
        UseLogits(items[static_cast<size_t>(output.item)], output, logits + i * vocab,
                  scratch_[static_cast<size_t>(lane)]);
      }
    };
    backend_->ParallelFor(lanes, std::ref(draw));
  }
  for (StepItem& item : items) {
    const ScoredRows scored = RowsToScore(item);
    if (scored.begin < scored.end) item.request->generation->set_next_score(scored.end + 1);
  }
}

// The logits after a position score the next prompt token, or give a new one.
void StepRunner::UseLogits(const StepItem& item, const OutputRow& output, const float* logits,
                           SamplerScratch& scratch) {
  Generation& generation = *item.request->generation;
  const GenerateRequest& request = generation.request();
  const std::span<const float> row(logits, static_cast<size_t>(model_->config().vocab_size));
  const int32_t next = output.position + 1;
  if (next < item.sequence->num_prompt()) {
    generation.prompt_scores()[static_cast<size_t>(output.position)] = Score(
        row, request.context.prompt[static_cast<size_t>(next)], *request.prompt_logprobs, scratch);
    return;
  }
  GeneratedSequence& sequence = *item.generated;
  sequence.drawn() = Sample(row, request.sampling, sequence.history(), sequence.banned(),
                            static_cast<uint32_t>(sequence.index()), next, scratch);
}

}  // namespace spade
