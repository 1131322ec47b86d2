#include "engine/model/staged_model.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/model/decoder_layer.h"

namespace spade {
namespace {

constexpr int64_t kMaxRows = 1 << 20;

absl::Status CheckOptions(const ModelOptions& options) {
  if (options.max_rows < 1 || options.max_rows > kMaxRows || options.max_output_rows < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_rows must be in [1, ", kMaxRows, "], max_output_rows at least 1"));
  }
  if (options.weight_dtype == DType::kI32) {
    return absl::InvalidArgumentError("weights are stored as f32, f16, bf16 or int8");
  }
  return absl::OkStatus();
}

// Asks for what says where the layer's weights are: since it was last read those of all layers have
// passed through the caches, and each of its lines would be waited for in turn.
void Fetch(const LayerWeights& layer) {
  constexpr size_t kLine = 64;
  const auto* bytes = reinterpret_cast<const std::byte*>(&layer);
  for (size_t i = 0; i < sizeof(layer); i += kLine) __builtin_prefetch(bytes + i);
}

absl::StatusOr<std::vector<StageRange>> StagesOf(std::span<const int32_t> exit_layers,
                                                 int32_t num_layers) {
  std::vector<StageRange> stages;
  int32_t first = 0;
  for (const int32_t exit : exit_layers) {
    if (exit <= first || exit >= num_layers) {
      return absl::InvalidArgumentError(absl::StrCat("exit layers must ascend within [1, ",
                                                     num_layers - 1, "]; ", exit, " does not"));
    }
    stages.push_back(StageRange{first, exit});
    first = exit;
  }
  stages.push_back(StageRange{first, num_layers});
  return stages;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StagedModel>> StagedModel::Load(Backend* backend,
                                                               const ModelConfig& config,
                                                               const Checkpoint& checkpoint,
                                                               const ModelOptions& options) {
  SPADE_RETURN_IF_ERROR(CheckOptions(options));
  auto model = std::unique_ptr<StagedModel>(new StagedModel());
  model->backend_ = backend;
  model->config_ = config;
  SPADE_ASSIGN_OR_RETURN(model->shard_, ShardOf(config, backend->shards()));
  model->inverse_frequencies_ = InverseFrequencies(config);
  SPADE_ASSIGN_OR_RETURN(model->stages_, StagesOf(options.exit_layers, config.num_layers));
  SPADE_ASSIGN_OR_RETURN(model->weights_,
                         LoadWeights(*backend, config, checkpoint, options.weight_dtype));
  SPADE_ASSIGN_OR_RETURN(model->x_, Activations::Create(*backend, model->shard_, options.max_rows));
  const int64_t output_rows = std::min(options.max_output_rows, options.max_rows);
  const Tensor logits{nullptr, output_rows, config.vocab_size, DType::kF32};
  SPADE_ASSIGN_OR_RETURN(model->logits_, backend->Allocate(logits.bytes()));
  return model;
}

void StagedModel::Begin(const RowBatch& batch) {
  x_.Resize(batch.rows());
  if (batch.rows() == 0) return;
  backend_->Embed(weights_.embedding, batch.ids, x_.hidden);
  backend_->RopeAngles(batch.positions, inverse_frequencies_, x_.angles);
}

void StagedModel::RunStage(int32_t stage, RowBatch& batch, std::span<const KvView> kv) {
  SPADE_CHECK(batch.rows() == x_.rows());
  SPADE_CHECK(batch.spade_rows == 0 || has_start());
  if (x_.rows() == 0) return;
  const StageRange range = stages_[static_cast<size_t>(stage)];
  // Where rows are dropped, the last layer leaves another batch than it found.
  const bool drops = range.last == config_.num_layers && batch.DropsRows();
  const int32_t end = drops ? range.last - 1 : range.last;
  const auto run = [&] { RunLayers({range.first, end}, batch, kv); };
  backend_->RunRepeatable(x_.rows(), run);
  if (drops) RunLayers({end, range.last}, batch, kv);
}

void StagedModel::RunLayers(StageRange range, RowBatch& batch, std::span<const KvView> kv) {
  for (int32_t layer = range.first; layer < range.last; ++layer) {
    const auto index = static_cast<size_t>(layer);
    Fetch(weights_.layers[index]);
    RunDecoderLayer({.backend = *backend_,
                     .config = shard_,
                     .weights = weights_.layers[index],
                     .kv = kv[index],
                     .scratch = kv.size() > weights_.layers.size() ? kv.back() : KvView{},
                     .start = start(layer),
                     .last = layer + 1 == config_.num_layers},
                    batch, x_);
  }
}

void StagedModel::Regroup(Regrouping& regrouping, RowBatch& batch, Tensor parked) {
  RowBatch& next = regrouping.next();
  const std::span<const int32_t> sources = regrouping.sources();
  const int64_t current_rows = x_.rows();
  x_.Resize(std::max(current_rows, next.rows()));
  // Not in place: joining rows move the others to either side.
  CopyFrom(x_.hidden, sources, [](int32_t source) { return source; });
  CopyFrom(parked, sources, [](int32_t source) { return ~source; });
  std::swap(x_.hidden.data, x_.normed.data);
  std::swap(batch, next);
  x_.Resize(batch.rows());
  if (batch.rows() > 0) backend_->RopeAngles(batch.positions, inverse_frequencies_, x_.angles);
}

// Copies to normed those rows whose source, mapped to a row of `from`, is not negative.
template <typename ToRow>
void StagedModel::CopyFrom(Tensor from, std::span<const int32_t> sources, const ToRow& to_row) {
  x_.row_list.clear();
  x_.target_list.clear();
  for (size_t i = 0; i < sources.size(); ++i) {
    if (to_row(sources[i]) < 0) continue;
    x_.row_list.push_back(to_row(sources[i]));
    x_.target_list.push_back(static_cast<int32_t>(i));
  }
  if (!x_.row_list.empty()) backend_->CopyRows(from, x_.row_list, x_.target_list, x_.normed);
}

void StagedModel::Park(std::span<const int32_t> rows, std::span<const int32_t> slots,
                       Tensor parked) {
  backend_->CopyRows(x_.hidden, rows, slots, parked);
}

Tensor StagedModel::BackendLogits(std::span<const int32_t> rows) {
  const Tensor out{logits_.data(), static_cast<int64_t>(rows.size()), config_.vocab_size,
                   DType::kF32};
  if (!rows.empty()) backend_->MatMul(NormedRows(rows), weights_.output_head(), {}, out);
  return out;
}

const float* StagedModel::Logits(std::span<const int32_t> rows) {
  if (rows.empty()) return static_cast<const float*>(logits_.data());
  return backend_->HostView(BackendLogits(rows));
}

const float* StagedModel::LogitsOf(std::span<const int32_t> rows,
                                   std::span<const TokenId> columns) {
  const Tensor out{logits_.data(), static_cast<int64_t>(rows.size()),
                   static_cast<int64_t>(columns.size()), DType::kF32};
  SPADE_CHECK(out.bytes() <= logits_.size());
  if (rows.empty() || columns.empty()) return static_cast<const float*>(logits_.data());
  backend_->MatMulColumns(NormedRows(rows), weights_.output_head(), columns, out);
  return backend_->HostView(out);
}

Tensor StagedModel::NormedRows(std::span<const int32_t> rows) {
  const auto count = static_cast<int64_t>(rows.size());
  SPADE_CHECK(count <= max_output_rows());
  Tensor normed = x_.normed;
  normed.rows = count;
  backend_->GatherRows(x_.hidden, rows, normed);
  backend_->RmsNorm(normed, weights_.final_norm.data(), config_.rms_norm_epsilon, normed);
  return normed;
}

int64_t StagedModel::max_output_rows() const {
  return static_cast<int64_t>(logits_.size() / sizeof(float)) / config_.vocab_size;
}

}  // namespace spade
