#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/row_batch.h"
#include "engine/model/staged_model.h"
#include "engine/runtime/request_state.h"
#include "engine/sampling/sampler.h"
#include "engine/schedule/scheduler.h"
#include "kernels/backend.h"

namespace spade {

// The planned rows of one sequence with what the step must know of it.
struct StepItem {
  PlannedRows rows;
  const Sequence* sequence = nullptr;
  RequestState* request = nullptr;
  GeneratedSequence* generated = nullptr;  // of a generation; null: of a decision

  // Set by Climb: the decision left early, and its remaining full rows wait at the exit.
  bool parked = false;
};

// Turns the rows of a step into one climb through the stages: the rows of all sequences together,
// with decisions leaving between stages; then the tokens are drawn and the labels' logits taken.
// Results go to the items' states (GeneratedSequence::drawn, DecisionState::label_logits and exit,
// Generation::prompt_scores). Not thread-safe: owned by the loop.
class StepRunner {
 public:
  struct Options {
    int32_t max_rows = 0;
    int32_t max_output_rows = 0;  // as the model's
    bool early_exit = false;      // some calibration is loaded
  };
  // RESOURCE_EXHAUSTED where the scratch does not fit. All pointers outlive this.
  static absl::StatusOr<std::unique_ptr<StepRunner>> Create(Backend* backend, StagedModel* model,
                                                            std::span<const KvView> kv,
                                                            const Options& options);

  void Climb(std::span<StepItem> items);
  // Takes the rows that the last Climb parked to full depth; their decisions' label logits are then
  // the full-depth ones. Other items may be over by now: they are not looked at.
  void RunParked(std::span<StepItem> items);

 private:
  // The rows of one item that are in the climb's paged rows: consecutive, in the riders' order.
  struct Rider {
    int32_t item = 0;
    int32_t count = 0;
    int32_t wanted = 0;  // its last rows, whose outputs are needed
  };
  struct Parked {
    Rider rider;
    int32_t stage = 0;  // the next to run
    int32_t first = 0;  // row of parking_
  };
  struct OutputRow {
    int32_t row = 0;  // of the model's current rows
    int32_t item = 0;
    int32_t position = 0;
  };

  StepRunner() = default;
  void BeginBatch();
  void AddRider(const StepItem& item, Rider rider);
  void TakeExits(int32_t stage, std::span<StepItem> items);
  void TryExits(int32_t stage, std::span<StepItem> items);
  void LeaveClimb(int32_t stage, std::span<StepItem> items);
  void Park(const Rider& rider, int32_t first_row, int32_t next_stage);
  void ListOutputs(std::span<const StepItem> items);
  void TakeLabels(std::span<StepItem> items);
  void DrawTokens(std::span<StepItem> items);
  void UseLogits(const StepItem& item, const OutputRow& output, const float* logits,
                 SamplerScratch& scratch);

  Backend* backend_ = nullptr;
  StagedModel* model_ = nullptr;
  std::span<const KvView> kv_;
  Options options_;
  Buffer parking_;  // (max_rows, hidden): hidden states of parked rows
  Buffer answers_;  // (max_rows, hidden): answer rows at an exit

  RowBatch batch_;
  int32_t table_stride_ = 1;  // of all the step's items
  std::vector<Rider> riders_;
  std::vector<int32_t> spade_items_;  // item of each SPADE row
  std::vector<Parked> parked_;
  int32_t num_parked_rows_ = 0;
  std::vector<OutputRow> token_rows_;
  std::vector<OutputRow> label_rows_;
  std::vector<int32_t> candidates_;  // items that may leave at this exit
  std::vector<int32_t> rows_;        // scratch: lists of rows
  std::vector<int32_t> keep_;
  std::vector<int32_t> to_spade_;
  std::vector<int32_t> spade_positions_;
  std::vector<SamplerScratch> scratch_;
};

}  // namespace spade
