#pragma once

#include <cstdint>
#include <string>

#include "kernels/dtype.h"

namespace spade::testing {

// A Llama model small enough to write and run within a test.
struct TinyModelSpec {
  int32_t hidden_size = 64;
  int32_t intermediate_size = 96;
  int32_t num_layers = 4;
  int32_t num_heads = 4;
  int32_t num_kv_heads = 2;
  int32_t head_dim = 16;
  int32_t vocab_size = 258;  // at least 258: the tokenizer's
  int32_t max_context = 256;
  bool tied_head = true;
  bool has_bos = true;        // config.json names <s> as bos_token_id
  DType dtype = DType::kF32;  // as stored: kF32 or kBF16
  uint64_t seed = 1;
  int64_t max_drawn = 0;  // elements of a tensor, which then repeat; 0: all (large ones take long)
};

inline constexpr int32_t kTinyBos = 0;        // "<s>"
inline constexpr int32_t kTinyEos = 1;        // "</s>"
inline constexpr int32_t kTinyFirstByte = 2;  // byte b is token kTinyFirstByte + b

// Writes config.json, generation_config.json, model.safetensors, tokenizer.json and
// tokenizer_config.json into an existing folder. Weights are random, the same for the same spec;
// the tokenizer is byte-level BPE without merges, so text of n bytes is n tokens after <s>.
void WriteTinyModel(const std::string& directory, const TinyModelSpec& spec);

}  // namespace spade::testing
