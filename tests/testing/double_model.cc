#include "tests/testing/double_model.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace spade::testing {
namespace {

using Vector = std::vector<double>;

// out(o) = sum over i of weight(o, i) x(i); the weight is (rows, x.size()).
Vector Multiply(const Vector& weight, const Vector& x) {
  Vector out(weight.size() / x.size());
  for (size_t o = 0; o < out.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) out[o] += weight[o * x.size() + i] * x[i];
  }
  return out;
}

Vector Normalize(const Vector& x, const Vector& weight, double epsilon) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  Vector out(x.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * scale * weight[i];
  return out;
}

void AddTo(Vector& x, const Vector& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

}  // namespace

DoubleModel::DoubleModel(const ModelConfig& config, const Checkpoint& checkpoint)
    : config_(config) {
  SPADE_CHECK(!config.qkv_bias && !config.output_bias && !config.mlp_bias && !config.qk_norm);
  const auto load = [&](const std::string& name, int64_t rows, int64_t cols) {
    const auto source = checkpoint.Find(name, rows, cols);
    SPADE_CHECK(source.ok() && source->dtype == DType::kF32);
    const auto* values = static_cast<const float*>(source->data);
    weights_[name] = Vector(values, values + rows * cols);
  };
  const int64_t hidden = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  const HeadLayout heads = config.heads();
  load("model.embed_tokens.weight", config.vocab_size, hidden);
  load("model.norm.weight", 1, hidden);
  if (!config.tied_head) load("lm_head.weight", config.vocab_size, hidden);
  for (int32_t i = 0; i < config.num_layers; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    load(layer + "input_layernorm.weight", 1, hidden);
    load(layer + "self_attn.q_proj.weight", heads.q_cols(), hidden);
    load(layer + "self_attn.k_proj.weight", heads.kv_cols(), hidden);
    load(layer + "self_attn.v_proj.weight", heads.kv_cols(), hidden);
    load(layer + "self_attn.o_proj.weight", hidden, heads.q_cols());
    load(layer + "post_attention_layernorm.weight", 1, hidden);
    load(layer + "mlp.gate_proj.weight", inner, hidden);
    load(layer + "mlp.up_proj.weight", inner, hidden);
    load(layer + "mlp.down_proj.weight", hidden, inner);
  }
}

DoubleModel::Rows DoubleModel::Embed(std::span<const TokenId> ids) const {
  const Vector& table = weights_.at("model.embed_tokens.weight");
  Rows rows;
  for (const TokenId id : ids) {
    const auto first = table.begin() + std::ptrdiff_t{id} * config_.hidden_size;
    rows.emplace_back(first, first + config_.hidden_size);
  }
  return rows;
}

DoubleModel::Rows DoubleModel::RunLayers(Rows rows, std::span<const int32_t> positions,
                                         int32_t first, int32_t last) const {
  const double epsilon = config_.rms_norm_epsilon;
  for (int32_t layer = first; layer < last; ++layer) {
    Rows normed;
    for (const Vector& row : rows) {
      normed.push_back(Normalize(row, Weight(layer, "input_layernorm"), epsilon));
    }
    const Rows attended = Attend(normed, positions, layer);
    for (size_t r = 0; r < rows.size(); ++r) {
      AddTo(rows[r], Multiply(Weight(layer, "self_attn.o_proj"), attended[r]));
      const Vector x = Normalize(rows[r], Weight(layer, "post_attention_layernorm"), epsilon);
      Vector inner = Multiply(Weight(layer, "mlp.gate_proj"), x);
      const Vector up = Multiply(Weight(layer, "mlp.up_proj"), x);
      for (size_t i = 0; i < inner.size(); ++i) inner[i] *= up[i] / (1 + std::exp(-inner[i]));
      AddTo(rows[r], Multiply(Weight(layer, "mlp.down_proj"), inner));
    }
  }
  return rows;
}

std::vector<double> DoubleModel::Logits(const std::vector<double>& row) const {
  const Vector normed = Normalize(row, weights_.at("model.norm.weight"), config_.rms_norm_epsilon);
  return Multiply(weights_.at(config_.tied_head ? "model.embed_tokens.weight" : "lm_head.weight"),
                  normed);
}

const std::vector<double>& DoubleModel::Weight(int32_t layer, const std::string& name) const {
  return weights_.at(absl::StrCat("model.layers.", layer, ".", name, ".weight"));
}

DoubleModel::Rows DoubleModel::Attend(const Rows& normed, std::span<const int32_t> positions,
                                      int32_t layer) const {
  const auto dim = static_cast<size_t>(config_.head_dim);
  const auto group = static_cast<size_t>(config_.num_heads / config_.num_kv_heads);
  Rows queries, keys, values, attended;
  for (size_t r = 0; r < normed.size(); ++r) {
    queries.push_back(Multiply(Weight(layer, "self_attn.q_proj"), normed[r]));
    keys.push_back(Multiply(Weight(layer, "self_attn.k_proj"), normed[r]));
    values.push_back(Multiply(Weight(layer, "self_attn.v_proj"), normed[r]));
    Rotate(queries[r], positions[r]);
    Rotate(keys[r], positions[r]);
    Vector& out = attended.emplace_back(queries[r].size());
    for (size_t h = 0; h < queries[r].size() / dim; ++h) {
      const size_t kv = h / group * dim;
      Vector weights;
      for (size_t k = 0; k <= r; ++k) {
        double score = 0;
        for (size_t i = 0; i < dim; ++i) score += queries[r][h * dim + i] * keys[k][kv + i];
        weights.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
      }
      double total = 0;
      for (const double weight : weights) total += weight;
      for (size_t k = 0; k <= r; ++k) {
        for (size_t i = 0; i < dim; ++i) {
          out[h * dim + i] += weights[k] / total * values[k][kv + i];
        }
      }
    }
  }
  return attended;
}

void DoubleModel::Rotate(std::vector<double>& heads, int32_t position) const {
  const auto dim = static_cast<size_t>(config_.head_dim);
  for (size_t h = 0; h < heads.size(); h += dim) {
    for (size_t i = 0; i < dim / 2; ++i) {
      const double angle = position * std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) /
                                                                       static_cast<double>(dim));
      const double a = heads[h + i];
      const double b = heads[h + dim / 2 + i];
      heads[h + i] = a * std::cos(angle) - b * std::sin(angle);
      heads[h + dim / 2 + i] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
}

}  // namespace spade::testing
