#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/model_config.h"
#include "kernels/backend.h"

namespace spade {

// What a climb computes on its way, in one allocation sized for `max_rows` rows. Every tensor shows
// the current rows; between layers only `hidden` and `angles` carry over.
struct Activations {
  // `config`: of a shard (ShardOf). RESOURCE_EXHAUSTED where the backend has no room.
  static absl::StatusOr<Activations> Create(Backend& backend, const ModelConfig& config,
                                            int64_t max_rows);

  // `rows` <= max_rows become current; contents stay.
  void Resize(int64_t rows);
  int64_t rows() const { return hidden.rows; }

  Tensor hidden;    // (rows, hidden): the residual stream
  Tensor normed;    // (rows, hidden)
  Tensor angles;    // (rows, head_dim): rotary cosines and sines
  Tensor qkv;       // (rows, qkv_cols)
  Tensor attended;  // (rows, q_cols)
  Tensor gate_up;   // (rows, 2 intermediate)
  Tensor gated;     // (rows, intermediate)
  int64_t max_rows = 0;
  std::vector<int32_t> row_list;     // scratch for lists of rows; capacity max_rows
  std::vector<int32_t> target_list;  // the same
  Buffer storage;
};

}  // namespace spade
