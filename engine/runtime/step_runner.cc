#include "engine/runtime/step_runner.h"

#include <algorithm>

#include "engine/base/status_macros.h"
#include "engine/runtime/step_rows.h"

namespace spade {
namespace {

constexpr size_t kMaxSpans = Backend::kMaxTimeMarks / 4;  // two marks each, and one being taken

}  // namespace

absl::StatusOr<std::unique_ptr<StepRunner>> StepRunner::Create(Backend* backend, StagedModel* model,
                                                               std::span<const KvView> kv,
                                                               TokenExits* exits,
                                                               const Options& options) {
  auto runner = std::unique_ptr<StepRunner>(new StepRunner(options, model->num_stages()));
  runner->backend_ = backend;
  runner->model_ = model;
  runner->kv_ = kv;
  runner->exits_ = exits;
  runner->scratch_.resize(kSamplerLanes);
  const ModelConfig& config = model->config();
  if (exits != nullptr) {
    for (DrawScratch& scratch : runner->scratch_) {
      scratch.logits.resize(static_cast<size_t>(config.vocab_size));
    }
  }
  if (options.early_exit) {
    // Rows of decisions, within a step, and of generated tokens, from step to step.
    SPADE_ASSIGN_OR_RETURN(runner->parking_,
                           RowParking::Create(*backend, 2 * options.max_rows, config.hidden_size));
    const Tensor answers{nullptr, options.max_rows, config.hidden_size, DType::kF32};
    SPADE_ASSIGN_OR_RETURN(runner->answers_, backend->Allocate(answers.bytes()));
  }
  runner->Reserve();
  return runner;
}

// The lists that steps fill, so that no step makes one grow.
void StepRunner::Reserve() {
  // A decision that probes its exits adds a row for each.
  const auto rows = static_cast<size_t>(options_.max_rows + model_->num_stages());
  const auto sequences = static_cast<size_t>(options_.max_sequences);
  const size_t table_entries = sequences * static_cast<size_t>(options_.max_blocks);
  batch_.Reserve(rows, table_entries);
  if (options_.early_exit) regrouping_.Reserve(rows, table_entries);
  riders_.reserve(sequences);
  next_riders_.reserve(sequences);
  held_riders_.reserve(sequences);
  for (auto* outputs : {&token_rows_, &label_rows_}) outputs->reserve(rows);
  groups_.reserve(rows + 1);
  if (backend_->logit_reader() != nullptr) {
    queries_.queries.reserve(rows);
    logit_answers_.reserve(rows);
  }
  guesses_.reserve(sequences);
  offers_.reserve(sequences);
  spans_.reserve(kMaxSpans);
  for (auto* list : {&rows_, &candidates_, &park_rows_, &park_slots_, &joined_slots_, &spade_rows_,
                     &spade_positions_}) {
    list->reserve(rows);
  }
}

void StepRunner::Climb(std::span<StepItem> items) {
  parked_decisions_.clear();
  resuming_ = false;
  sample_ = {};
  SetPatience(items);
  BeginBatch(items);
  AddInParts([&](bool scratch) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (items[i].sequence->uses_scratch == scratch) AddRider(items[i], static_cast<int32_t>(i));
    }
  });
  only_held_ = riders_.empty();
  RunStages(items);
}

// What has blocks of the pool comes first.
template <typename Add>
void StepRunner::AddInParts(const Add& add) {
  add(/*scratch=*/false);
  batch_.first_scratch_table = batch_.num_tables();
  add(/*scratch=*/true);
}

void StepRunner::RunParked(std::span<StepItem> items) {
  resuming_ = true;
  BeginBatch(items);
  AddInParts([&](bool scratch) {
    for (ParkedDecision& parked : parked_decisions_) {
      const Sequence& sequence = *items[static_cast<size_t>(parked.item)].sequence;
      if (sequence.uses_scratch == scratch) parked.table = AddTable(sequence);
    }
  });
  RunStages(items);
}

int64_t StepRunner::DropParked(GeneratedSequence& sequence) {
  if (sequence.early() == nullptr) return 0;
  std::vector<ParkedToken>& parked = sequence.early()->parked();
  int64_t layer_rows = 0;
  for (const ParkedToken& token : parked) {
    parking_.Give(token.row.slot);
    layer_rows += model_->config().num_layers - model_->stage(token.boundary - 1).last;
  }
  parked.clear();
  sequence.early()->Release();
  return layer_rows;
}

void StepRunner::RunStages(std::span<StepItem> items) {
  model_->Begin(batch_);
  removed_ = {};
  const int32_t num_stages = model_->num_stages();
  for (int32_t stage = 0; stage < num_stages; ++stage) {
    RunStage(stage);
    if (stage + 1 < num_stages) CrossBoundary(stage + 1, items);
  }
  ListOutputs(items);
  sample_.spade_rows += static_cast<int32_t>(spades_.size());
  sample_.parked_rows = parking_.num_taken();
  TakeLabels(items);
  DrawTokens(items);
  LearnCosts();
}

// Queues the stage and does not wait for it.
void StepRunner::RunStage(int32_t stage) {
  const int64_t rows = batch_.rows();
  if (rows == 0 && removed_ == std::array<int64_t, 3>{}) return;
  const Backend::TimeMark begin = backend_->MarkTime();
  model_->RunStage(stage, batch_, kv_);
  NoteSpan(stage, rows, begin);
  spans_.back().removed = removed_;
}

// What was queued since `begin`.
void StepRunner::NoteSpan(int32_t cost, int64_t rows, Backend::TimeMark begin) {
  if (spans_.size() == kMaxSpans) LearnCosts();
  spans_.push_back({cost, rows, begin, backend_->MarkTime(), {}});
}

// Waits for the climb. What a stage would have taken with the rows that left, and without those
// that joined, is predicted from what it took so far.
void StepRunner::LearnCosts() {
  for (const Span& span : spans_) {
    costs_.Observe(span.cost, span.rows, backend_->ElapsedSeconds(span.begin, span.end));
    const double with = costs_.Predict(span.cost, span.rows);
    for (size_t mode = 0; mode < span.removed.size(); ++mode) {
      if (span.removed[mode] == 0) continue;
      sample_.seconds_saved[mode] +=
          costs_.Predict(span.cost, span.rows + span.removed[mode]) - with;
    }
  }
  spans_.clear();
}

int64_t& StepRunner::RemovedBy(const StepItem& item) {
  return removed_[static_cast<size_t>(item.mode)];
}

// ---- The batch at the bottom

void StepRunner::BeginBatch(std::span<const StepItem> items) {
  size_t stride = 1;
  for (const StepItem& item : items) {
    // When decisions resume, the other items may be over.
    if (!resuming_ || item.parked) stride = std::max(stride, item.sequence->blocks.size());
  }
  batch_.Clear();
  batch_.table_stride = static_cast<int32_t>(stride);
  riders_.clear();
  held_riders_.clear();
  spades_.clear();
}

int32_t StepRunner::AddTable(const Sequence& sequence) {
  const std::vector<BlockId>& blocks = sequence.blocks;
  const auto stride = static_cast<size_t>(batch_.table_stride);
  const int32_t table = batch_.num_tables();
  batch_.block_tables.insert(batch_.block_tables.end(), blocks.begin(), blocks.end());
  batch_.block_tables.resize((static_cast<size_t>(table) + 1) * stride, 0);
  return table;
}

void StepRunner::AddRider(StepItem& item, int32_t index) {
  if (EarlyTokens* const early = EarlyOf(item)) early->BeginStep();
  if (HeldRowOf(item) != nullptr) {
    held_riders_.push_back({index, AddTable(*item.sequence), item.sequence->length(), 0, 0});
    return;
  }
  const Rider rider{index, AddTable(*item.sequence), item.rows.first, item.rows.count,
                    WantedRows(item)};
  for (int32_t i = 0; i < rider.count; ++i) {
    const int32_t position = rider.first + i;
    batch_.ids.push_back(item.sequence->tokens[static_cast<size_t>(position)]);
    batch_.positions.push_back(position);
    batch_.sequences.push_back(rider.table);
    batch_.wants_output.push_back(i >= rider.count - rider.wanted);
  }
  riders_.push_back(rider);
}

}  // namespace spade
