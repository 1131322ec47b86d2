#include "tests/testing/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/safetensors_writer.h"
#include "tests/testing/temp_dir.h"

namespace spade::testing {
namespace {

using Json = nlohmann::json;

class WeightMaker {
 public:
  explicit WeightMaker(const TinyModelSpec& spec)
      : dtype_(spec.dtype), max_drawn_(spec.max_drawn), random_(spec.seed) {}

  // Variance 2 / cols: activations keep their size, and a mistake shows in the logits.
  void AddMatrix(const std::string& name, int64_t rows, int64_t cols, double gain = 1.4) {
    const double scale = gain / std::sqrt(static_cast<double>(cols));
    Add(name, {rows, cols}, 0, scale);
  }
  void AddNorm(const std::string& name, int64_t size) { Add(name, {size}, 1, 0.2); }
  std::string Bytes() const { return writer_.Bytes(); }

 private:
  void Add(const std::string& name, const std::vector<int64_t>& shape, double mean, double scale) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    if (max_drawn_ > 0) count = std::min(count, max_drawn_);
    std::vector<float> values;
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(static_cast<float>(mean + scale * Unit()));
    }
    writer_.Add(name, shape, values, dtype_);
  }
  // Uniform with variance 1, from the generator's bits: the same with every standard library.
  double Unit() { return (static_cast<double>(random_() >> 11) * 0x1p-53 - 0.5) * std::sqrt(12.0); }

  DType dtype_;
  int64_t max_drawn_;
  std::mt19937_64 random_;
  SafeTensorsWriter writer_;
};

std::string WeightBytes(const TinyModelSpec& spec) {
  WeightMaker maker(spec);
  maker.AddMatrix("model.embed_tokens.weight", spec.vocab_size, spec.hidden_size,
                  std::sqrt(static_cast<double>(spec.hidden_size)));
  const int64_t q_cols = int64_t{spec.num_heads} * spec.head_dim;
  const int64_t kv_cols = int64_t{spec.num_kv_heads} * spec.head_dim;
  for (int32_t i = 0; i < spec.num_layers; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    maker.AddNorm(layer + "input_layernorm.weight", spec.hidden_size);
    maker.AddMatrix(layer + "self_attn.q_proj.weight", q_cols, spec.hidden_size);
    maker.AddMatrix(layer + "self_attn.k_proj.weight", kv_cols, spec.hidden_size);
    maker.AddMatrix(layer + "self_attn.v_proj.weight", kv_cols, spec.hidden_size);
    maker.AddMatrix(layer + "self_attn.o_proj.weight", spec.hidden_size, q_cols);
    maker.AddNorm(layer + "post_attention_layernorm.weight", spec.hidden_size);
    maker.AddMatrix(layer + "mlp.gate_proj.weight", spec.intermediate_size, spec.hidden_size);
    maker.AddMatrix(layer + "mlp.up_proj.weight", spec.intermediate_size, spec.hidden_size);
    maker.AddMatrix(layer + "mlp.down_proj.weight", spec.hidden_size, spec.intermediate_size);
  }
  maker.AddNorm("model.norm.weight", spec.hidden_size);
  if (!spec.tied_head) maker.AddMatrix("lm_head.weight", spec.vocab_size, spec.hidden_size);
  return maker.Bytes();
}

std::string ConfigJson(const TinyModelSpec& spec) {
  Json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"model_type", "llama"},
                 {"hidden_size", spec.hidden_size},
                 {"intermediate_size", spec.intermediate_size},
                 {"num_hidden_layers", spec.num_layers},
                 {"num_attention_heads", spec.num_heads},
                 {"num_key_value_heads", spec.num_kv_heads},
                 {"head_dim", spec.head_dim},
                 {"vocab_size", spec.vocab_size},
                 {"max_position_embeddings", spec.max_context},
                 {"rms_norm_eps", 1e-5},
                 {"rope_theta", 10000.0},
                 {"hidden_act", "silu"},
                 {"tie_word_embeddings", spec.tied_head},
                 {"eos_token_id", kTinyEos},
                 {"torch_dtype", spec.dtype == DType::kF32 ? "float32" : "bfloat16"}};
  if (spec.has_bos) config["bos_token_id"] = kTinyBos;
  return config.dump(1);
}

// A code point as UTF-8 (below U+0800, which is all that the byte alphabet needs).
std::string Utf8(uint32_t code) {
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

// Byte-level BPE writes printable bytes as themselves and the others, in order, from U+0100 on.
bool IsPrintable(uint32_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

Json Vocabulary() {
  Json vocabulary = {{"<s>", kTinyBos}, {"</s>", kTinyEos}};
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const uint32_t code = IsPrintable(byte) ? byte : next++;
    vocabulary[Utf8(code)] = kTinyFirstByte + static_cast<int32_t>(byte);
  }
  return vocabulary;
}

Json AddedToken(int32_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

std::string TokenizerJson() {
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const Json start = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const Json text_a = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json text_b = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  const Json start_ids = {{"id", "<s>"}, {"ids", {kTinyBos}}, {"tokens", {"<s>"}}};
  const Json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", Json::array({AddedToken(kTinyBos, "<s>"), AddedToken(kTinyEos, "</s>")})},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", Json::array({start, text_a})},
        {"pair", Json::array({start, text_a, text_b})},
        {"special_tokens", {{"<s>", start_ids}}}}},
      {"decoder", byte_level},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", Vocabulary()},
        {"merges", Json::array()}}}};
  return tokenizer.dump(1);
}

}  // namespace

void WriteTinyModel(const std::string& directory, const TinyModelSpec& spec) {
  const Json generation = {{"bos_token_id", kTinyBos}, {"eos_token_id", kTinyEos}};
  const Json tokenizer_config = {{"add_bos_token", true},
                                 {"bos_token", "<s>"},
                                 {"eos_token", "</s>"},
                                 {"tokenizer_class", "PreTrainedTokenizerFast"},
                                 {"model_max_length", spec.max_context}};
  WriteFileOrDie(directory + "/config.json", ConfigJson(spec));
  WriteFileOrDie(directory + "/generation_config.json", generation.dump(1));
  WriteFileOrDie(directory + "/model.safetensors", WeightBytes(spec));
  WriteFileOrDie(directory + "/tokenizer.json", TokenizerJson());
  WriteFileOrDie(directory + "/tokenizer_config.json", tokenizer_config.dump(1));
}

}  // namespace spade::testing
