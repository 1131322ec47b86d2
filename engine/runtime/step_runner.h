#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/regrouping.h"
#include "engine/model/row_batch.h"
#include "engine/model/staged_model.h"
#include "engine/runtime/exit_metrics.h"
#include "engine/runtime/exit_rules.h"
#include "engine/runtime/request_state.h"
#include "engine/runtime/row_parking.h"
#include "engine/runtime/token_exits.h"
#include "engine/schedule/hold_policy.h"
#include "engine/schedule/scheduler.h"
#include "engine/schedule/stage_costs.h"
#include "kernels/backend.h"

namespace spade {

// The planned rows of one sequence with what the step must know of it.
struct StepItem {
  PlannedRows rows;
  const Sequence* sequence = nullptr;
  RequestState* request = nullptr;
  GeneratedSequence* generated = nullptr;  // of a generation; null: of a decision
  ExitMode mode = ExitMode::kExact;

  // Set by Climb.
  double patience = 0;        // seconds that its newest row may wait at an exit; 0: it may not
  bool parked = false;        // the decision left early, and its rows wait at the exit
  int32_t num_accepted = 0;   // drafts that full depth drew too
  bool draft_failed = false;  // the draft after them was another
  TokenId full_token = 0;     // full depth's, where an exit is shadow-checked
};

// Turns the rows of a step into one climb through the stages: the rows of all sequences together,
// with rows leaving at the boundaries between stages and parked rows joining there; then the tokens
// are drawn and the labels' logits taken. Results go to the items' states
// (GeneratedSequence::drawn and early, DecisionState::label_logits and exit,
// Generation::prompt_scores). Not thread-safe: owned by the loop.
class StepRunner {
 public:
  struct Options {
    int32_t max_rows = 0;
    int32_t max_output_rows = 0;  // as the model's
    int32_t max_sequences = 0;    // of one step
    int32_t max_blocks = 0;       // of one sequence
    int32_t max_parked = 0;       // rows of one generated sequence that may wait at exits
    bool early_exit = false;      // some calibration is loaded
    HoldOptions hold;
  };
  // RESOURCE_EXHAUSTED where the scratch does not fit. All pointers outlive this; `exits` may be
  // null: no generated token leaves early.
  static absl::StatusOr<std::unique_ptr<StepRunner>> Create(Backend* backend, StagedModel* model,
                                                            std::span<const KvView> kv,
                                                            TokenExits* exits,
                                                            const Options& options);

  // Which exits are open to generated tokens, for the steps that follow.
  ExitRules& rules() { return rules_; }

  void Climb(std::span<StepItem> items);
  // Takes the decisions that the last Climb parked to full depth; their label logits are then the
  // full-depth ones. Other items may be over by now: they are not looked at.
  void RunParked(std::span<StepItem> items);
  // Forgets the sequence's parked rows: it ended, or its KV is gone. Returns the layer-rows that
  // they did not run.
  int64_t DropParked(GeneratedSequence& sequence);

  // Rows that left at an exit, or are held there.
  int32_t num_parked() const { return parking_.num_taken(); }
  int32_t max_parked() const { return options_.max_parked; }
  // Of the last Climb and the RunParked since.
  const ClimbSample& sample() const { return sample_; }
  // Seconds of stages, head and checks, as measured so far.
  const StageCosts& costs() const { return costs_; }
  // Which exits of FAST tokens are to be completed and compared (see ShadowChecks); may be empty.
  void set_sampler(std::function<bool()> sampler) { sample_shadow_ = std::move(sampler); }

 private:
  // Rows of one item in the climb: consecutive in the batch, in the riders' order.
  struct Rider {
    int32_t item = 0;
    int32_t table = 0;  // its block table
    int32_t first = 0;  // position of its first row
    int32_t count = 0;
    int32_t wanted = 0;  // its last rows, whose outputs are needed
    int32_t end() const { return first + count; }
  };
  struct ParkedDecision {
    int32_t item = 0;
    int32_t boundary = 0;
    int32_t table = 0;
    std::vector<ParkedRow> rows;
  };
  // A part of a climb whose time is to be learnt once it is over.
  struct Span {
    int32_t cost = 0;  // as in StageCosts
    int64_t rows = 0;
    Backend::TimeMark begin = 0;
    Backend::TimeMark end = 0;
    std::array<int64_t, 3> removed{};  // as removed_ was
  };
  struct OutputRow {
    int32_t row = 0;  // of the model's current rows
    int32_t item = 0;
    int32_t position = 0;
    int32_t probe = -1;  // as SpadeRow::probe
  };

  StepRunner(const Options& options, int32_t num_stages)
      : options_(options),
        rules_(options.max_parked),
        costs_(num_stages + kExtraCosts),
        hold_policy_(options.hold, num_stages) {}

  // step_runner.cc: the climb.
  void Reserve();
  void BeginBatch(std::span<const StepItem> items);
  template <typename Add>
  void AddInParts(const Add& add);
  void AddRider(StepItem& item, int32_t index);
  int32_t AddTable(const Sequence& sequence);
  void RunStages(std::span<StepItem> items);
  void RunStage(int32_t stage);
  void NoteSpan(int32_t cost, int64_t rows, Backend::TimeMark begin);
  void LearnCosts();
  int64_t& RemovedBy(const StepItem& item);

  // step_exits.cc: what happens at a boundary.
  void CrossBoundary(int32_t boundary, std::span<StepItem> items);
  void AskDecisions(int32_t layer, std::span<StepItem> items);
  void AskTokens(int32_t boundary, int32_t layer, std::span<StepItem> items);
  Tensor GatherAnswers();
  bool Changes(int32_t boundary, std::span<const StepItem> items) const;
  void Regroup(int32_t boundary, std::span<StepItem> items);
  void Probe(const Rider& rider, int32_t first_row, int32_t boundary, const StepItem& item);
  void LeaveAsSpade(const Rider& rider, int32_t first_row, int32_t boundary, StepItem& item);
  void LeaveEarly(Rider& rider, int32_t first_row, int32_t boundary, const StepItem& item);
  void JoinParked(Rider& rider, int32_t boundary, const StepItem& item);
  void RegroupResumed(int32_t boundary);
  void FinishRegrouping();
  void JoinDecisions(int32_t boundary, bool scratch);
  ParkedRow Park(const Rider& rider, int32_t first_row, int32_t offset);

  // step_holds.cc: rows that wait for others.
  void SetPatience(std::span<StepItem> items);
  void DecideHolds(int32_t boundary, std::span<const StepItem> items);
  void HoldBack(const Rider& rider, int32_t first_row, int32_t boundary, const StepItem& item);
  void ReleaseHeld(int32_t boundary, std::span<const StepItem> items);

  // step_outputs.cc: logits, labels, draws.
  void ListOutputs(std::span<const StepItem> items);
  void TakeLabels(std::span<StepItem> items);
  void DrawTokens(std::span<StepItem> items);
  void DrawFromHost(std::span<const OutputRow> outputs, std::span<StepItem> items);
  void UseLogits(StepItem& item, int32_t position, std::span<const float> logits,
                 SamplerScratch& scratch);

  // step_draws.cc: the same by the backend's LogitReader.
  void DrawFromBackend(std::span<const OutputRow> outputs, std::span<StepItem> items);
  void AskRow(const StepItem& item, int32_t position, int32_t row);

  Backend* backend_ = nullptr;
  StagedModel* model_ = nullptr;
  std::span<const KvView> kv_;
  TokenExits* exits_ = nullptr;
  const Options options_;
  ExitRules rules_;
  StageCosts costs_;
  HoldPolicy hold_policy_;
  ClimbSample sample_;
  std::array<int64_t, 3> removed_{};  // rows that left the climb less those that joined, by mode
  std::function<bool()> sample_shadow_;
  RowParking parking_;
  Buffer answers_;  // (max_rows, hidden): rows that may leave at an exit

  RowBatch batch_;
  Regrouping regrouping_;
  std::vector<Rider> riders_;
  std::vector<Rider> next_riders_;
  std::vector<Rider> held_riders_;  // without rows yet
  // Of each SPADE row: its item, and the exit (index) it probes; -1: it is the item's answer.
  struct SpadeRow {
    int32_t item = 0;
    int32_t probe = -1;
  };
  std::vector<SpadeRow> spades_;
  std::vector<ParkedDecision> parked_decisions_;
  bool resuming_ = false;     // the climb is of parked decisions
  int32_t num_may_wait_ = 0;  // sequences of the climb whose newest row may, or does
  bool only_held_ = false;    // the climb has no other rows
  // At the boundary that is being crossed: rows that go deeper wait; those that waited go on.
  bool holds_here_ = false;
  bool releases_here_ = false;
  std::vector<Span> spans_;  // not learnt from yet
  std::vector<OutputRow> token_rows_;
  std::vector<OutputRow> label_rows_;

  // Scratch: lists of rows.
  std::vector<int32_t> rows_;
  LogitQueries queries_;
  std::vector<LogitAnswer> logit_answers_;
  std::vector<size_t> groups_;       // first output row of each item's, and the end
  std::vector<int32_t> candidates_;  // items that may leave at this exit
  std::vector<TokenGuess> guesses_;
  std::vector<ExitOffer> offers_;
  std::vector<int32_t> park_rows_;
  std::vector<int32_t> park_slots_;
  std::vector<int32_t> joined_slots_;
  std::vector<int32_t> spade_rows_;
  std::vector<int32_t> spade_positions_;
  std::vector<DrawScratch> scratch_;
};

}  // namespace spade
