#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/activations.h"
#include "engine/model/model_config.h"
#include "engine/model/regrouping.h"
#include "engine/model/row_batch.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"

namespace spade {

struct ModelOptions {
  DType weight_dtype = DType::kBF16;
  int64_t max_rows = 512;         // rows of one climb; scratch is sized once for them
  int64_t max_output_rows = 512;  // rows of one Logits call; no more than max_rows are needed
  // Ascending, each in [1, num_layers): a stage ends after each.
  std::vector<int32_t> exit_layers = {};
};

// Layers [first, last) form one stage: what runs between two exit points.
struct StageRange {
  int32_t first = 0;
  int32_t last = 0;
};

// A model whose layers are grouped into stages between exit points. It knows rows, not requests.
// One climb: Begin, then RunStage for stage 0, 1, ... in order, with rows leaving, joining or
// turning into SPADE rows (arXiv 2507.17618) between stages (Regroup); then Logits. Not
// thread-safe: owned by the engine's loop.
class StagedModel {
 public:
  // INVALID_ARGUMENT for options out of range, weights that do not fit the config, or a backend
  // with more shards than the layers can be split over; RESOURCE_EXHAUSTED where weights or scratch
  // do not fit in memory. `backend` outlives this; `checkpoint` is not needed afterwards.
  static absl::StatusOr<std::unique_ptr<StagedModel>> Load(Backend* backend,
                                                           const ModelConfig& config,
                                                           const Checkpoint& checkpoint,
                                                           const ModelOptions& options);

  const ModelConfig& config() const { return config_; }
  int32_t num_stages() const { return static_cast<int32_t>(stages_.size()); }
  StageRange stage(int32_t index) const { return stages_[static_cast<size_t>(index)]; }
  int64_t weight_bytes() const { return weights_.bytes; }
  int64_t max_output_rows() const;  // of one Logits call

  // Embeds the batch's ids and computes the rotary angles of its positions.
  void Begin(const RowBatch& batch);
  // Runs the stage's layers over the batch; `kv`: KvCache::views, of the whole model. In the
  // model's last layer rows that want no output stop after writing keys and values: `batch` keeps
  // the others only (an exact saving).
  void RunStage(int32_t stage, RowBatch& batch, std::span<const KvView> kv);

  // Between stages: `batch`, which `regrouping` began with, becomes regrouping.next(), its hidden
  // states with it. `parked`: (slots, hidden), where joining rows lie; unused without any.
  void Regroup(Regrouping& regrouping, RowBatch& batch, Tensor parked);
  // Between stages: copies the hidden states of the listed rows to the listed slots of `parked`.
  void Park(std::span<const int32_t> rows, std::span<const int32_t> slots, Tensor parked);

  // Hidden states of the current rows, before the final norm: (rows, hidden), in backend memory.
  // Valid until the next call that is not const.
  Tensor hidden() const { return x_.hidden; }
  // The final norm and the head over the listed current rows: (rows.size(), vocab), in backend
  // memory. Valid until the next call that is not const.
  Tensor BackendLogits(std::span<const int32_t> rows);
  // The same in host memory, valid until the next call.
  const float* Logits(std::span<const int32_t> rows);
  // The same, for the listed vocabulary columns only: (rows.size(), columns.size()).
  const float* LogitsOf(std::span<const int32_t> rows, std::span<const TokenId> columns);

  // Computes the start token's keys and values at every layer, which SPADE rows attend to. Call
  // once, after Load. FAILED_PRECONDITION where the config has no bos id.
  absl::Status PrepareStart();
  bool has_start() const { return !start_.empty(); }

 private:
  StagedModel() = default;

  void RunLayers(StageRange range, RowBatch& batch, std::span<const KvView> kv);
  template <typename ToRow>
  void CopyFrom(Tensor from, std::span<const int32_t> sources, const ToRow& to_row);
  // The listed current rows after the final norm: (rows.size(), hidden).
  Tensor NormedRows(std::span<const int32_t> rows);
  // Keeps the next layer's start constants: `keys` and, after them, values, in backend memory.
  absl::Status CaptureStart(const float* keys);
  StartView start(int32_t layer) const;

  Backend* backend_ = nullptr;
  ModelConfig config_;
  ModelConfig shard_;  // what the layers run with
  Weights weights_;
  std::vector<StageRange> stages_;
  std::vector<float> inverse_frequencies_;
  std::vector<Buffer> start_;  // per layer: keys then values, (2, kv_heads, head_dim)
  Activations x_;
  Buffer logits_;  // (max_output_rows, vocab)
};

}  // namespace spade
