#pragma once

#include <cstdint>
#include <utility>

#include "absl/hash/hash.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/weights.h"
#include "kernels/heads.h"
#include "kernels/tensor.h"

// Hashes of the arguments of operations. Bindings name all fields: one that is added and forgotten
// here does not compile.

namespace spade {

template <typename H>
H AbslHashValue(H state, const Tensor& tensor) {
  const auto& [data, rows, cols, dtype] = tensor;
  return H::combine(std::move(state), data, rows, cols, dtype);
}

template <typename H>
H AbslHashValue(H state, const HeadLayout& heads) {
  const auto& [q_heads, kv_heads, head_dim] = heads;
  return H::combine(std::move(state), q_heads, kv_heads, head_dim);
}

template <typename H>
H AbslHashValue(H state, const QkNorm& norm) {
  const auto& [q_weight, k_weight, epsilon] = norm;
  return H::combine(std::move(state), q_weight, k_weight, epsilon);
}

template <typename H>
H AbslHashValue(H state, const KvView& kv) {
  const auto& [keys, values, dtype, block_size] = kv;
  return H::combine(std::move(state), keys, values, dtype, block_size);
}

template <typename H>
H AbslHashValue(H state, const StartView& start) {
  const auto& [keys, values] = start;
  return H::combine(std::move(state), keys, values);
}

namespace cuda {

template <typename H>
H AbslHashValue(H state, const RopeArgs& args) {
  const auto& [qkv, heads, norm, angles, rows] = args;
  return H::combine(std::move(state), qkv, heads, norm, angles, rows);
}

template <typename H>
H AbslHashValue(H state, const WeightView& weight) {
  const auto& [data, scales, dtype, out_features, in_features] = weight;
  return H::combine(std::move(state), data, scales, dtype, out_features, in_features);
}

template <typename H>
H AbslHashValue(H state, const StoreKvArgs& args) {
  const auto& [qkv, heads, positions, sequences, block_tables, table_stride, rows, kv] = args;
  return H::combine(std::move(state), qkv, heads, positions, sequences, block_tables, table_stride,
                    rows, kv);
}

template <typename H>
H AbslHashValue(H state, const AttentionArgs& args) {
  const auto& [qkv, heads, positions, sequences, block_tables, table_stride, kv, tiles, num_tiles,
               tile_queries, max_splits, partials, out] = args;
  return H::combine(std::move(state), qkv, heads, positions, sequences, block_tables, table_stride,
                    kv, tiles, num_tiles, tile_queries, max_splits, partials, out);
}

// Tells runs of operations apart: two that differ in anything that was added have the same value
// with a probability of 2^-64.
class Signature {
 public:
  template <class... Args>
  void Add(const Args&... args) {
    value_ = absl::HashOf(value_, args...);
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0;
};

}  // namespace cuda
}  // namespace spade
