#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "kernels/backend.h"

namespace spade {

// A small F32 parameter in backend memory: norm weights and biases.
struct Parameter {
  Buffer storage;
  const float* data() const { return static_cast<const float*>(storage.data()); }  // null: absent
};

// With shards (Backend::shards) `qkv` and `gate_up` and their biases are split by outputs, `output`
// and `down` by inputs; the shapes are those of all shards together.
struct LayerWeights {
  Parameter attention_norm;  // (hidden)
  Matrix qkv;                // (qkv_cols, hidden)
  Parameter qkv_bias;        // (qkv_cols)
  Parameter q_norm;          // (head_dim)
  Parameter k_norm;          // (head_dim)
  Matrix output;             // (hidden, q_cols)
  Parameter output_bias;     // (hidden)
  Parameter mlp_norm;        // (hidden)
  Matrix gate_up;            // (2 intermediate, hidden)
  Parameter gate_up_bias;    // (2 intermediate)
  Matrix down;               // (hidden, intermediate)
  Parameter down_bias;       // (hidden)
};

struct Weights {
  Matrix embedding;  // (vocab, hidden)
  std::vector<LayerWeights> layers;
  Parameter final_norm;  // (hidden)
  Matrix head;           // (vocab, hidden); empty when tied
  const Matrix& output_head() const { return head.empty() ? embedding : head; }
  int64_t bytes = 0;  // of backend memory, on all shards
};

// Packs every weight the config asks for. INVALID_ARGUMENT names a tensor that is missing or
// misshapen. `dtype`: matrices' storage; norms and biases are F32. `config`: the whole model's, of
// which there is a ShardOf.
absl::StatusOr<Weights> LoadWeights(Backend& backend, const ModelConfig& config,
                                    const Checkpoint& checkpoint, DType dtype);

}  // namespace spade
