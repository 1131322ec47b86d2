#include "engine/model/model_config.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/json_fields.h"
#include "engine/model/rope.h"

namespace spade {
namespace {

// Bounds far above any real model, which keep every product of sizes within int64.
constexpr size_t kMaxTextBytes = 4 << 20;
constexpr int64_t kMaxHidden = 1 << 17;
constexpr int64_t kMaxIntermediate = 1 << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 256;
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxContext = 1 << 28;
constexpr size_t kMaxEosIds = 256;

absl::Status ReadInt(const JsonFields& fields, std::string_view name, int64_t low, int64_t high,
                     int32_t* value) {
  SPADE_ASSIGN_OR_RETURN(const int64_t number, fields.Int(name, low, high));
  *value = static_cast<int32_t>(number);
  return absl::OkStatus();
}

absl::Status ReadArchitecture(const JsonFields& fields, ModelConfig* config) {
  static constexpr std::pair<std::string_view, Architecture> kSupported[] = {
      {"LlamaForCausalLM", Architecture::kLlama},
      {"MistralForCausalLM", Architecture::kMistral},
      {"Qwen2ForCausalLM", Architecture::kQwen2},
      {"Qwen3ForCausalLM", Architecture::kQwen3},
  };
  SPADE_ASSIGN_OR_RETURN(const std::vector<std::string> names, fields.Texts("architectures"));
  if (names.empty()) return absl::InvalidArgumentError("config.json: architectures is required");
  for (const auto& [name, architecture] : kSupported) {
    if (names.front() != name) continue;
    config->architecture = architecture;
    config->architecture_name = name;
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      StrCat("config.json: architecture ", names.front(),
             " is not supported; Llama, Mistral, Qwen2 and Qwen3 ForCausalLM are"));
}

// What would give wrong results silently if it were ignored.
absl::Status RefuseUnsupported(const JsonFields& fields) {
  SPADE_ASSIGN_OR_RETURN(const std::string activation, fields.TextOr("hidden_act", "silu"));
  if (activation != "silu") {
    return absl::UnimplementedError(
        StrCat("config.json: hidden_act ", activation, " is not supported; silu is"));
  }
  if (fields.Has("quantization_config")) {
    return absl::UnimplementedError(
        "config.json: quantized checkpoints are not supported; use the unquantized model");
  }
  SPADE_ASSIGN_OR_RETURN(const double rotated, fields.NumberOr("partial_rotary_factor", 1, 0, 1));
  if (rotated != 1) return absl::UnimplementedError("config.json: partial_rotary_factor below 1");
  return absl::OkStatus();
}

absl::Status ReadHeads(const JsonFields& fields, ModelConfig* config) {
  SPADE_RETURN_IF_ERROR(ReadInt(fields, "num_attention_heads", 1, kMaxHeads, &config->num_heads));
  SPADE_ASSIGN_OR_RETURN(
      const int64_t kv_heads,
      fields.IntOr("num_key_value_heads", config->num_heads, 1, config->num_heads));
  config->num_kv_heads = static_cast<int32_t>(kv_heads);
  if (config->num_heads % config->num_kv_heads != 0) {
    return absl::InvalidArgumentError(
        "config.json: num_attention_heads must be a multiple of num_key_value_heads");
  }
  if (!fields.Has("head_dim") && config->hidden_size % config->num_heads != 0) {
    return absl::InvalidArgumentError(
        "config.json: hidden_size must be a multiple of num_attention_heads where head_dim is not "
        "given");
  }
  SPADE_ASSIGN_OR_RETURN(
      const int64_t head_dim,
      fields.IntOr("head_dim", config->hidden_size / config->num_heads, INT32_MIN, INT32_MAX));
  if (head_dim < 8 || head_dim > kMaxHeadDim || head_dim % 8 != 0) {
    return absl::InvalidArgumentError(
        StrCat("config.json: head_dim is ", head_dim, ", not a multiple of 8 in [8, 256]"));
  }
  config->head_dim = static_cast<int32_t>(head_dim);
  return absl::OkStatus();
}

absl::Status ReadSizes(const JsonFields& fields, ModelConfig* config) {
  SPADE_RETURN_IF_ERROR(ReadInt(fields, "hidden_size", 1, kMaxHidden, &config->hidden_size));
  SPADE_RETURN_IF_ERROR(
      ReadInt(fields, "intermediate_size", 1, kMaxIntermediate, &config->intermediate_size));
  SPADE_RETURN_IF_ERROR(ReadInt(fields, "num_hidden_layers", 1, kMaxLayers, &config->num_layers));
  SPADE_RETURN_IF_ERROR(ReadInt(fields, "vocab_size", 1, kMaxVocab, &config->vocab_size));
  SPADE_RETURN_IF_ERROR(ReadHeads(fields, config));
  SPADE_ASSIGN_OR_RETURN(const double epsilon, fields.NumberOr("rms_norm_eps", 1e-6, 0, 1));
  config->rms_norm_epsilon = static_cast<float>(epsilon);
  SPADE_ASSIGN_OR_RETURN(config->tied_head, fields.BoolOr("tie_word_embeddings", false));
  return absl::OkStatus();
}

// Which projections have biases, and whether queries and keys are normalised.
absl::Status ReadExtras(const JsonFields& fields, ModelConfig* config) {
  SPADE_ASSIGN_OR_RETURN(const bool attention_bias, fields.BoolOr("attention_bias", false));
  SPADE_ASSIGN_OR_RETURN(const bool mlp_bias, fields.BoolOr("mlp_bias", false));
  switch (config->architecture) {
    case Architecture::kLlama:
      config->qkv_bias = config->output_bias = attention_bias;
      config->mlp_bias = mlp_bias;
      break;
    case Architecture::kMistral:
      break;
    case Architecture::kQwen2:
      config->qkv_bias = true;
      break;
    case Architecture::kQwen3:
      config->qkv_bias = config->output_bias = attention_bias;
      config->qk_norm = true;
      break;
  }
  return absl::OkStatus();
}

// Attention here sees the whole context, so a sliding window bounds the context: up to its length
// both are the same.
absl::Status ReadContext(const JsonFields& fields, ModelConfig* config) {
  SPADE_RETURN_IF_ERROR(
      ReadInt(fields, "max_position_embeddings", 1, kMaxContext, &config->max_context));
  SPADE_ASSIGN_OR_RETURN(const RopeParameters rope, ParseRope(fields, config->max_context));
  config->rope_theta = rope.theta;
  config->rope_scaling = rope.scaling;
  if (config->architecture == Architecture::kLlama) return absl::OkStatus();
  const bool on_by_default = config->architecture == Architecture::kMistral;
  SPADE_ASSIGN_OR_RETURN(const bool slides, fields.BoolOr("use_sliding_window", on_by_default));
  SPADE_ASSIGN_OR_RETURN(const int64_t window,
                         fields.IntOr("sliding_window", config->max_context, 1, int64_t{1} << 40));
  if (slides) {
    config->max_context = static_cast<int32_t>(std::min<int64_t>(config->max_context, window));
  }
  return absl::OkStatus();
}

absl::Status ReadEosIds(const JsonFields& fields, ModelConfig* config) {
  SPADE_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                         fields.Ints("eos_token_id", 0, config->vocab_size - 1));
  if (ids.empty()) return absl::OkStatus();
  if (ids.size() > kMaxEosIds) {
    return absl::InvalidArgumentError("eos_token_id lists more than 256 ids");
  }
  config->eos_ids.assign(ids.begin(), ids.end());
  return absl::OkStatus();
}

absl::Status ReadTokens(const JsonFields& fields, ModelConfig* config) {
  if (fields.Has("bos_token_id")) {
    TokenId bos = 0;
    SPADE_RETURN_IF_ERROR(ReadInt(fields, "bos_token_id", 0, config->vocab_size - 1, &bos));
    config->bos_id = bos;
  }
  return ReadEosIds(fields, config);
}

absl::Status ReadDtype(const JsonFields& fields, ModelConfig* config) {
  SPADE_ASSIGN_OR_RETURN(const std::string old_name, fields.TextOr("torch_dtype", "float32"));
  SPADE_ASSIGN_OR_RETURN(const std::string name, fields.TextOr("dtype", old_name));
  if (name == "float32") {
    config->checkpoint_dtype = DType::kF32;
  } else if (name == "float16") {
    config->checkpoint_dtype = DType::kF16;
  } else if (name == "bfloat16") {
    config->checkpoint_dtype = DType::kBF16;
  } else {
    return absl::UnimplementedError(StrCat("config.json: dtype ", name,
                                           " is not supported; float32, float16 and bfloat16 are"));
  }
  return absl::OkStatus();
}

absl::Status CheckLength(std::string_view text, std::string_view what) {
  if (text.size() <= kMaxTextBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(what, " is larger than 4 MiB"));
}

}  // namespace

int64_t ModelConfig::layer_parameters() const {
  const int64_t hidden = hidden_size;
  const int64_t inner = intermediate_size;
  int64_t count = heads().qkv_cols() * hidden + hidden * heads().q_cols() + 3 * inner * hidden;
  count += 2 * hidden;  // the two norms
  if (qkv_bias) count += heads().qkv_cols();
  if (output_bias) count += hidden;
  if (mlp_bias) count += 2 * inner + hidden;
  if (qk_norm) count += 2 * int64_t{head_dim};
  return count;
}

int64_t ModelConfig::total_parameters() const {
  const int64_t table = int64_t{vocab_size} * hidden_size;
  return num_layers * layer_parameters() + hidden_size + (tied_head ? table : 2 * table);
}

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config_json,
                                             std::string_view generation_config_json) {
  SPADE_RETURN_IF_ERROR(CheckLength(config_json, "config.json"));
  SPADE_RETURN_IF_ERROR(CheckLength(generation_config_json, "generation_config.json"));
  SPADE_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Parse(config_json, "config.json"));
  ModelConfig config;
  SPADE_RETURN_IF_ERROR(ReadArchitecture(fields, &config));
  SPADE_RETURN_IF_ERROR(RefuseUnsupported(fields));
  SPADE_RETURN_IF_ERROR(ReadSizes(fields, &config));
  SPADE_RETURN_IF_ERROR(ReadExtras(fields, &config));
  SPADE_RETURN_IF_ERROR(ReadContext(fields, &config));
  SPADE_RETURN_IF_ERROR(ReadTokens(fields, &config));
  SPADE_RETURN_IF_ERROR(ReadDtype(fields, &config));
  if (!generation_config_json.empty()) {
    SPADE_ASSIGN_OR_RETURN(const JsonFields generation,
                           JsonFields::Parse(generation_config_json, "generation_config.json"));
    SPADE_RETURN_IF_ERROR(ReadEosIds(generation, &config));
  }
  return config;
}

}  // namespace spade
