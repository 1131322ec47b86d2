#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "kernels/backend.h"

namespace spade {

enum class Architecture { kLlama, kMistral, kQwen2, kQwen3 };

// How rotary frequencies are rescaled for long contexts (config.json's rope_scaling).
struct RopeScaling {
  enum class Kind { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_freq_factor = 1;            // kLlama3
  double high_freq_factor = 4;           // kLlama3
  int32_t original_max_position = 8192;  // kLlama3
};

// The hyper-parameters of a decoder-only model of the Llama family: plain data.
struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string architecture_name;  // "LlamaForCausalLM"
  int32_t hidden_size = 0;
  int32_t intermediate_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t vocab_size = 0;
  int32_t max_context = 0;  // max_position_embeddings, or the sliding window where that is shorter
  float rms_norm_epsilon = 1e-5f;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  bool qkv_bias = false;
  bool output_bias = false;  // of attention's output projection
  bool mlp_bias = false;
  bool qk_norm = false;
  bool tied_head = false;
  DType checkpoint_dtype = DType::kF32;  // torch_dtype; weights say their own
  std::optional<TokenId> bos_id;
  std::vector<TokenId> eos_ids;  // config.json's, then replaced by generation_config.json's

  HeadLayout heads() const { return HeadLayout{num_heads, num_kv_heads, head_dim}; }
  // Weights of one decoder layer, and of the whole model (embedding and head counted once if tied).
  int64_t layer_parameters() const;
  int64_t total_parameters() const;
};

// Parses config.json and, where not empty, generation_config.json. INVALID_ARGUMENT names the field
// that is missing or out of range; UNIMPLEMENTED names an architecture, activation or rope_scaling
// that is not supported.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config_json,
                                             std::string_view generation_config_json);

// The config of what one of `shards` devices has of each layer (Backend::shards): its share of the
// heads and of the MLP; the rest is the model's. INVALID_ARGUMENT, naming the numbers that would
// do, where the heads, KV heads or intermediate size cannot be shared out evenly.
absl::StatusOr<ModelConfig> ShardOf(const ModelConfig& config, int32_t shards);

// (head_dim / 2) inverse frequencies, rope_scaling applied.
std::vector<float> InverseFrequencies(const ModelConfig& config);

}  // namespace spade
