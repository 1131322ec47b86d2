#pragma once

#include <cstdint>

namespace spade {

// How attention splits the columns of a fused QKV row: [q_heads | kv_heads (K) | kv_heads (V)],
// each head `head_dim` wide.
struct HeadLayout {
  int32_t q_heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;

  constexpr int64_t q_cols() const { return int64_t{q_heads} * head_dim; }
  constexpr int64_t kv_cols() const { return int64_t{kv_heads} * head_dim; }
  constexpr int64_t qkv_cols() const { return q_cols() + 2 * kv_cols(); }
};

// Per-head RMSNorm of queries and keys before RoPE (Qwen3); null pointers: none.
struct QkNorm {
  const float* q_weight = nullptr;  // (head_dim), backend memory
  const float* k_weight = nullptr;  // (head_dim), backend memory
  float epsilon = 0;
};

}  // namespace spade
