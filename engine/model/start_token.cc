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
  const HeadLayout heads = config_.heads();
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
                     .config = config_,
                     .weights = weights,
                     .kv = KvView{},
                     .start = itself},
                    batch, x_);
    SPADE_RETURN_IF_ERROR(CaptureStart(keys));
  }
  return absl::OkStatus();
}

absl::Status StagedModel::CaptureStart(const float* keys) {
  std::vector<float> host(static_cast<size_t>(2 * config_.heads().kv_cols()));
  const size_t bytes = host.size() * sizeof(float);
  absl::StatusOr<Buffer> buffer = backend_->Allocate(bytes);
  if (!buffer.ok()) {
    start_.clear();
    return buffer.status();
  }
  backend_->CopyToHost(host.data(), keys, bytes);
  backend_->CopyFromHost(buffer->data(), host.data(), bytes);
  start_.push_back(*std::move(buffer));
  return absl::OkStatus();
}

StartView StagedModel::start(int32_t layer) const {
  if (!has_start()) return StartView{};
  const auto* keys = static_cast<const float*>(start_[static_cast<size_t>(layer)].data());
  return StartView{keys, keys + config_.heads().kv_cols()};
}

}  // namespace spade
