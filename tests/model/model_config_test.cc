#include "engine/model/model_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

namespace spade::testing {
namespace {

using Json = nlohmann::json;
using absl::StatusCode;

Json Base(const std::string& architecture = "LlamaForCausalLM") {
  return {{"architectures", {architecture}},
          {"hidden_size", 64},
          {"intermediate_size", 96},
          {"num_hidden_layers", 4},
          {"vocab_size", 100},
          {"num_attention_heads", 4},
          {"max_position_embeddings", 2048},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"rms_norm_eps", 1e-5},
          {"hidden_act", "silu"}};
}

ModelConfig ParseOk(const Json& json, const std::string& generation = "") {
  const auto config = ParseModelConfig(json.dump(), generation);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig{});
}

StatusCode CodeWith(const std::string& field, const Json& value,
                    const std::string& architecture = "LlamaForCausalLM") {
  Json json = Base(architecture);
  json[field] = value;
  return ParseModelConfig(json.dump(), "").status().code();
}

TEST(ModelConfigTest, DefaultsFollowFromTheSizes) {
  const ModelConfig config = ParseOk(Base());
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.max_context, 2048);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kNone);
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.mlp_bias || config.qk_norm);
  EXPECT_FALSE(config.tied_head);
  EXPECT_EQ(config.bos_id, TokenId{1});
  EXPECT_EQ(config.eos_ids, std::vector<TokenId>{2});
}

TEST(ModelConfigTest, ParametersAreCounted) {
  Json json = Base();
  const int64_t layer = 4 * 64 * 64 + 3 * 96 * 64 + 2 * 64;
  EXPECT_EQ(ParseOk(json).layer_parameters(), layer);
  EXPECT_EQ(ParseOk(json).total_parameters(), 4 * layer + 64 + 2 * 100 * 64);
  json["tie_word_embeddings"] = true;
  json["attention_bias"] = true;
  json["mlp_bias"] = true;
  EXPECT_EQ(ParseOk(json).layer_parameters(), layer + 3 * 64 + 64 + 2 * 96 + 64);
  EXPECT_EQ(ParseOk(json).total_parameters(), 4 * ParseOk(json).layer_parameters() + 64 + 100 * 64);
}

TEST(ModelConfigTest, ArchitecturesHaveTheirOwnBiasesAndNorms) {
  const ModelConfig qwen2 = ParseOk(Base("Qwen2ForCausalLM"));
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.output_bias || qwen2.mlp_bias || qwen2.qk_norm);
  Json json = Base("Qwen3ForCausalLM");
  json["attention_bias"] = true;
  const ModelConfig qwen3 = ParseOk(json);
  EXPECT_TRUE(qwen3.qkv_bias && qwen3.output_bias && qwen3.qk_norm);
  json = Base("MistralForCausalLM");
  json["attention_bias"] = true;  // Mistral has none, whatever the file says
  EXPECT_FALSE(ParseOk(json).qkv_bias);
}

TEST(ModelConfigTest, BothRopeLayoutsAreRead) {
  Json scaling = {{"rope_type", "llama3"},
                  {"factor", 8.0},
                  {"low_freq_factor", 1.0},
                  {"high_freq_factor", 4.0},
                  {"original_max_position_embeddings", 512}};
  Json classic = Base();
  classic["rope_theta"] = 5e5;
  classic["rope_scaling"] = scaling;
  classic["torch_dtype"] = "bfloat16";
  Json modern = Base();
  scaling["rope_theta"] = 5e5;
  modern["rope_parameters"] = scaling;
  modern["dtype"] = "bfloat16";
  for (const Json& json : {classic, modern}) {
    const ModelConfig config = ParseOk(json);
    EXPECT_EQ(config.rope_theta, 5e5);
    EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kLlama3);
    EXPECT_EQ(config.rope_scaling.factor, 8);
    EXPECT_EQ(config.rope_scaling.original_max_position, 512);
    EXPECT_EQ(config.checkpoint_dtype, DType::kBF16);
  }
}

TEST(ModelConfigTest, OldNameOfTheRopeTypeIsRead) {
  Json json = Base();
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  const ModelConfig config = ParseOk(json);
  EXPECT_EQ(config.rope_scaling.kind, RopeScaling::Kind::kLinear);
  const auto plain = InverseFrequencies(ParseOk(Base()));
  const auto scaled = InverseFrequencies(config);
  ASSERT_EQ(scaled.size(), 8u);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 4);
}

TEST(ModelConfigTest, Llama3FrequenciesStretchLongWavesOnly) {
  Json json = Base();
  json["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8},
                          {"low_freq_factor", 1},
                          {"high_freq_factor", 4},
                          {"original_max_position_embeddings", 256}};
  const auto plain = InverseFrequencies(ParseOk(Base()));
  const auto scaled = InverseFrequencies(ParseOk(json));
  EXPECT_FLOAT_EQ(plain[0], 1);
  EXPECT_EQ(scaled[0], plain[0]);            // 41 turns within 256 positions: short
  EXPECT_FLOAT_EQ(scaled[7], plain[7] / 8);  // far below one turn: long
  EXPECT_LT(scaled[3], plain[3]);            // 1.3 turns: between
  EXPECT_GT(scaled[3], plain[3] / 8);
}

TEST(ModelConfigTest, OtherRopeIsUnimplemented) {
  EXPECT_EQ(CodeWith("rope_scaling", {{"rope_type", "yarn"}, {"factor", 4}}),
            StatusCode::kUnimplemented);
  EXPECT_EQ(CodeWith("rope_scaling", {{"type", "dynamic"}, {"factor", 2}}),
            StatusCode::kUnimplemented);
  EXPECT_EQ(CodeWith("rope_parameters", {{"full_attention", {{"rope_theta", 1e4}}}}),
            StatusCode::kUnimplemented);
  EXPECT_EQ(CodeWith("partial_rotary_factor", 0.5), StatusCode::kUnimplemented);
  EXPECT_EQ(CodeWith("rope_scaling", {{"type", "linear"}}), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeWith("rope_scaling", {{"type", "linear"}, {"factor", 0}}),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeWith("rope_scaling", nullptr), StatusCode::kOk);
}

TEST(ModelConfigTest, SlidingWindowBoundsTheContext) {
  Json mistral = Base("MistralForCausalLM");
  mistral["sliding_window"] = 512;
  EXPECT_EQ(ParseOk(mistral).max_context, 512);
  mistral["sliding_window"] = nullptr;
  EXPECT_EQ(ParseOk(mistral).max_context, 2048);
  Json qwen = Base("Qwen2ForCausalLM");
  qwen["sliding_window"] = 512;
  EXPECT_EQ(ParseOk(qwen).max_context, 2048);
  qwen["use_sliding_window"] = true;
  EXPECT_EQ(ParseOk(qwen).max_context, 512);
}

TEST(ModelConfigTest, GenerationConfigReplacesEosIds) {
  EXPECT_EQ(ParseOk(Base(), R"({"eos_token_id":[5,6]})").eos_ids, (std::vector<TokenId>{5, 6}));
  EXPECT_EQ(ParseOk(Base(), R"({"bos_token_id":7})").eos_ids, std::vector<TokenId>{2});
  EXPECT_EQ(ParseOk(Base(), R"({"bos_token_id":7})").bos_id, TokenId{1});
  EXPECT_EQ(ParseModelConfig(Base().dump(), "{").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseModelConfig(Base().dump(), R"({"eos_token_id":100})").status().code(),
            StatusCode::kInvalidArgument);
}

TEST(ModelConfigTest, NoBosIsNoError) {
  Json json = Base();
  json["bos_token_id"] = nullptr;
  EXPECT_EQ(ParseOk(json).bos_id, std::nullopt);
}

TEST(ModelConfigTest, UnsupportedModelsAreUnimplemented) {
  EXPECT_EQ(CodeWith("architectures", {"GPT2LMHeadModel"}), StatusCode::kUnimplemented);
  EXPECT_EQ(CodeWith("hidden_act", "gelu"), StatusCode::kUnimplemented);
  EXPECT_EQ(CodeWith("quantization_config", {{"bits", 4}}), StatusCode::kUnimplemented);
  EXPECT_EQ(CodeWith("torch_dtype", "float8"), StatusCode::kUnimplemented);
}

TEST(ModelConfigTest, RequiredFieldsAreNamed) {
  for (const char* field :
       {"architectures", "hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size",
        "num_attention_heads", "max_position_embeddings"}) {
    Json json = Base();
    json.erase(field);
    const absl::Status status = ParseModelConfig(json.dump(), "").status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << field;
    EXPECT_NE(status.message().find(field), absl::string_view::npos) << field;
  }
}

TEST(ModelConfigTest, AbsurdValuesAreRefused) {
  const std::pair<const char*, Json> bad[] = {
      {"hidden_size", 0},
      {"hidden_size", -64},
      {"hidden_size", 64.5},
      {"hidden_size", "64"},
      {"hidden_size", 1'000'000},
      {"hidden_size", 18446744073709551615u},
      {"intermediate_size", 1LL << 40},
      {"num_hidden_layers", 0},
      {"num_hidden_layers", 100'000},
      {"vocab_size", 1LL << 31},
      {"num_attention_heads", 0},
      {"num_attention_heads", 5},
      {"num_key_value_heads", 3},
      {"num_key_value_heads", 8},
      {"num_key_value_heads", 0},
      {"head_dim", 12},
      {"head_dim", 264},
      {"head_dim", 0},
      {"head_dim", -16},
      {"max_position_embeddings", 0},
      {"max_position_embeddings", 1LL << 40},
      {"rms_norm_eps", -1.0},
      {"rms_norm_eps", "x"},
      {"rope_theta", 0},
      {"tie_word_embeddings", 1},
      {"eos_token_id", 100},
      {"eos_token_id", -1},
      {"eos_token_id", "x"},
      {"eos_token_id", {1, "x"}},
      {"bos_token_id", 100},
      {"architectures", "LlamaForCausalLM"},
      {"architectures", Json::array()},
      {"architectures", {3}},
      {"rope_scaling", 4},
  };
  for (const auto& [field, value] : bad) {
    EXPECT_EQ(CodeWith(field, value), StatusCode::kInvalidArgument) << field << " " << value;
  }
}

ModelConfig ConfigOf(int32_t heads, int32_t kv_heads, int32_t intermediate) {
  ModelConfig config;
  config.hidden_size = 64;
  config.num_heads = heads;
  config.num_kv_heads = kv_heads;
  config.head_dim = 16;
  config.intermediate_size = intermediate;
  return config;
}

TEST(ShardOfTest, SharesOutHeadsAndMlpAndNothingElse) {
  const auto shard = ShardOf(ConfigOf(8, 4, 96), 4);
  ASSERT_TRUE(shard.ok());
  EXPECT_EQ(shard->num_heads, 2);
  EXPECT_EQ(shard->num_kv_heads, 1);
  EXPECT_EQ(shard->intermediate_size, 24);
  EXPECT_EQ(shard->head_dim, 16);
  EXPECT_EQ(shard->hidden_size, 64);
}

TEST(ShardOfTest, OneShardIsTheWhole) {
  const auto shard = ShardOf(ConfigOf(3, 1, 7), 1);
  ASSERT_TRUE(shard.ok());
  EXPECT_EQ(shard->num_heads, 3);
  EXPECT_EQ(shard->intermediate_size, 7);
}

TEST(ShardOfTest, NamesTheNumbersThatWouldDo) {
  for (const ModelConfig& config : {ConfigOf(12, 4, 96), ConfigOf(4, 4, 96), ConfigOf(8, 8, 100)}) {
    const absl::Status status = ShardOf(config, 8).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("use --tensor-parallel 1, 2, 4"), std::string::npos) << status;
  }
}

TEST(ModelConfigTest, TextThatIsNoObjectIsRefused) {
  for (const std::string& text : {std::string(), std::string("[]"), std::string("{"),
                                  std::string("nul"), std::string("{\"hidden_size\":\"\xff\"}"),
                                  std::string(100'000, '['), std::string(5 << 20, ' ')}) {
    EXPECT_EQ(ParseModelConfig(text, "").status().code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace spade::testing
