#include "engine/model/weights.h"

#include <array>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

// One projection: its place in the checkpoint and its number of output features.
struct Projection {
  std::string prefix;  // "model.layers.0.self_attn.q_proj"
  int64_t rows = 0;
};

class Loader {
 public:
  Loader(Backend& backend, const ModelConfig& config, const Checkpoint& checkpoint, DType dtype)
      : backend_(backend), config_(config), checkpoint_(checkpoint), dtype_(dtype) {}

  absl::StatusOr<Weights> Load();

 private:
  absl::Status LoadLayer(const std::string& prefix, LayerWeights* layer);
  absl::Status LoadAttention(const std::string& prefix, LayerWeights* layer);
  absl::Status LoadMlp(const std::string& prefix, LayerWeights* layer);
  // The projections' weights stacked, (sum of rows, cols).
  absl::StatusOr<Matrix> LoadMatrix(std::span<const Projection> parts, int64_t cols,
                                    Split split = Split::kNone);
  // The projections' biases end to end; absent, and then not in the checkpoint either, unless
  // `has_bias`. `split`: as the matrix; one split by inputs has a bias that is not.
  absl::StatusOr<Parameter> LoadBias(std::span<const Projection> parts, bool has_bias,
                                     Split split = Split::kNone);
  absl::StatusOr<Parameter> LoadNorm(const std::string& name, int64_t size);
  // `values`: with a split, what each shard gets, one shard's after another's.
  absl::StatusOr<Parameter> Upload(std::span<const float> values, Split split = Split::kNone);

  Backend& backend_;
  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  DType dtype_;
  int64_t bytes_ = 0;
};

absl::StatusOr<Weights> Loader::Load() {
  const int64_t hidden = config_.hidden_size;
  Weights weights;
  const std::array embedding = {Projection{"model.embed_tokens", config_.vocab_size}};
  SPADE_ASSIGN_OR_RETURN(weights.embedding, LoadMatrix(embedding, hidden));
  weights.layers.resize(static_cast<size_t>(config_.num_layers));
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    SPADE_RETURN_IF_ERROR(LoadLayer(absl::StrCat("model.layers.", i, "."), &weights.layers[i]));
  }
  SPADE_ASSIGN_OR_RETURN(weights.final_norm, LoadNorm("model.norm.weight", hidden));
  const std::array head = {Projection{"lm_head", config_.vocab_size}};
  SPADE_RETURN_IF_ERROR(LoadBias(head, /*has_bias=*/false).status());
  if (!config_.tied_head) {
    SPADE_ASSIGN_OR_RETURN(weights.head, LoadMatrix(head, hidden));
  }
  weights.bytes = bytes_;
  return weights;
}

absl::Status Loader::LoadLayer(const std::string& prefix, LayerWeights* layer) {
  const int64_t hidden = config_.hidden_size;
  SPADE_ASSIGN_OR_RETURN(layer->attention_norm,
                         LoadNorm(prefix + "input_layernorm.weight", hidden));
  SPADE_RETURN_IF_ERROR(LoadAttention(prefix + "self_attn.", layer));
  SPADE_ASSIGN_OR_RETURN(layer->mlp_norm,
                         LoadNorm(prefix + "post_attention_layernorm.weight", hidden));
  return LoadMlp(prefix + "mlp.", layer);
}

absl::Status Loader::LoadAttention(const std::string& prefix, LayerWeights* layer) {
  const HeadLayout heads = config_.heads();
  const std::array qkv = {Projection{prefix + "q_proj", heads.q_cols()},
                          Projection{prefix + "k_proj", heads.kv_cols()},
                          Projection{prefix + "v_proj", heads.kv_cols()}};
  SPADE_ASSIGN_OR_RETURN(layer->qkv, LoadMatrix(qkv, config_.hidden_size, Split::kOutputs));
  SPADE_ASSIGN_OR_RETURN(layer->qkv_bias, LoadBias(qkv, config_.qkv_bias, Split::kOutputs));
  const std::array output = {Projection{prefix + "o_proj", config_.hidden_size}};
  SPADE_ASSIGN_OR_RETURN(layer->output, LoadMatrix(output, heads.q_cols(), Split::kInputs));
  SPADE_ASSIGN_OR_RETURN(layer->output_bias, LoadBias(output, config_.output_bias));
  const std::string q_norm = prefix + "q_norm.weight";
  const std::string k_norm = prefix + "k_norm.weight";
  if (config_.qk_norm) {
    SPADE_ASSIGN_OR_RETURN(layer->q_norm, LoadNorm(q_norm, heads.head_dim));
    SPADE_ASSIGN_OR_RETURN(layer->k_norm, LoadNorm(k_norm, heads.head_dim));
  } else if (checkpoint_.Has(q_norm) || checkpoint_.Has(k_norm)) {
    return absl::InvalidArgumentError(absl::StrCat("the checkpoint has '", q_norm, "', which ",
                                                   config_.architecture_name, " does not use"));
  }
  return absl::OkStatus();
}

absl::Status Loader::LoadMlp(const std::string& prefix, LayerWeights* layer) {
  const int64_t inner = config_.intermediate_size;
  const std::array gate_up = {Projection{prefix + "gate_proj", inner},
                              Projection{prefix + "up_proj", inner}};
  SPADE_ASSIGN_OR_RETURN(layer->gate_up, LoadMatrix(gate_up, config_.hidden_size, Split::kOutputs));
  SPADE_ASSIGN_OR_RETURN(layer->gate_up_bias, LoadBias(gate_up, config_.mlp_bias, Split::kOutputs));
  const std::array down = {Projection{prefix + "down_proj", config_.hidden_size}};
  SPADE_ASSIGN_OR_RETURN(layer->down, LoadMatrix(down, inner, Split::kInputs));
  SPADE_ASSIGN_OR_RETURN(layer->down_bias, LoadBias(down, config_.mlp_bias));
  return absl::OkStatus();
}

absl::StatusOr<Matrix> Loader::LoadMatrix(std::span<const Projection> parts, int64_t cols,
                                          Split split) {
  std::vector<HostMatrix> sources;
  for (const Projection& part : parts) {
    SPADE_ASSIGN_OR_RETURN(const HostMatrix source,
                           checkpoint_.Find(part.prefix + ".weight", part.rows, cols));
    sources.push_back(source);
  }
  SPADE_ASSIGN_OR_RETURN(Matrix packed, backend_.PackSplit(sources, dtype_, split));
  bytes_ += static_cast<int64_t>(packed.bytes());
  return packed;
}

absl::StatusOr<Parameter> Loader::LoadBias(std::span<const Projection> parts, bool has_bias,
                                           Split split) {
  std::vector<HostMatrix> sources;
  for (const Projection& part : parts) {
    const std::string name = part.prefix + ".bias";
    if (!has_bias && checkpoint_.Has(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the checkpoint has '", name, "', which config.json does not mention"));
    }
    if (!has_bias) continue;
    SPADE_ASSIGN_OR_RETURN(const HostMatrix source, checkpoint_.Find(name, 1, part.rows));
    sources.push_back(source);
  }
  if (!has_bias) return Parameter{};
  std::vector<float> values;
  const int64_t shares = split == Split::kNone ? 1 : backend_.shards();
  for (int64_t share = 0; share < shares; ++share) {
    for (const HostMatrix& source : sources) {
      const int64_t count = source.cols / shares;
      for (int64_t i = 0; i < count; ++i) values.push_back(ElementAt(source, share * count + i));
    }
  }
  return Upload(values, split);
}

absl::StatusOr<Parameter> Loader::LoadNorm(const std::string& name, int64_t size) {
  SPADE_ASSIGN_OR_RETURN(const HostMatrix source, checkpoint_.Find(name, 1, size));
  std::vector<float> values;
  for (int64_t i = 0; i < size; ++i) values.push_back(ElementAt(source, i));
  return Upload(values);
}

absl::StatusOr<Parameter> Loader::Upload(std::span<const float> values, Split split) {
  const auto shards = static_cast<size_t>(backend_.shards());
  const size_t bytes = values.size_bytes() / (split == Split::kNone ? 1 : shards);
  Parameter parameter;
  SPADE_ASSIGN_OR_RETURN(parameter.storage, backend_.Allocate(bytes));
  if (split == Split::kNone) {
    backend_.CopyFromHost(parameter.storage.data(), values.data(), bytes);
  } else {
    backend_.CopySplitFromHost(parameter.storage.data(), values.data(), bytes);
  }
  bytes_ += static_cast<int64_t>(bytes * shards);
  return parameter;
}

}  // namespace

absl::StatusOr<Weights> LoadWeights(Backend& backend, const ModelConfig& config,
                                    const Checkpoint& checkpoint, DType dtype) {
  return Loader(backend, config, checkpoint, dtype).Load();
}

}  // namespace spade
