// The start token's part of StagedModel: the constants of the SPADE pass (arXiv 2507.17618).
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/model/decoder_layer.h"
#include "engine/model/staged_model.h"

namespace spade {

absl::Status StagedModel::PrepareStart() {
  if (!config_.bos_id.has_value()) {
    return absl::FailedPreconditionError(
        "early exit needs a model whose sequences begin with a fixed start token: config.json "
        "names no bos_token_id");
  }
  const HeadLayout heads = shard_.heads();
  RowBatch batch;
  batch.ids = {*config_.bos_id};
  batch.positions = {0};
  batch.wants_output = {1};
  batch.spade_rows = 1;
  Begin(batch);
  start_.clear();

  // The start token attends to itself alone. As a SPADE row whose start is its own key and value it
  // gives both the weight 1/2, which is that.
  const auto* keys = static_cast<const float*>(x_.qkv.data) + heads.q_cols();
  const StartView itself{keys, keys + heads.kv_cols()};
  for (const LayerWeights& weights : weights_.layers) {
    RunDecoderLayer({.backend = *backend_,
                     .config = shard_,
                     .weights = weights,
                     .kv = KvView{},
                     .start = itself},
                    batch, x_);
    SPADE_RETURN_IF_ERROR(CaptureStart(keys));
  }
  return absl::OkStatus();
}

absl::Status StagedModel::CaptureStart(const float* keys) {
  Tensor kept{nullptr, 1, 2 * shard_.heads().kv_cols(), DType::kF32};
  absl::StatusOr<Buffer> buffer = backend_->Allocate(kept.bytes());
  if (!buffer.ok()) {
    start_.clear();
    return buffer.status();
  }
  kept.data = buffer->data();
  // Not by way of the host, which reads one shard's only.
  const Tensor both{const_cast<float*>(keys), 1, kept.cols, DType::kF32};
  constexpr int32_t kRow[] = {0};
  backend_->CopyRows(both, kRow, kRow, kept);
  start_.push_back(*std::move(buffer));
  return absl::OkStatus();
}

StartView StagedModel::start(int32_t layer) const {
  if (!has_start()) return StartView{};
  const auto* keys = static_cast<const float*>(start_[static_cast<size_t>(layer)].data());
  return StartView{keys, keys + shard_.heads().kv_cols()};
}

}  // namespace spade
