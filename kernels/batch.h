#pragma once

#include <cstdint>
#include <span>

#include "kernels/dtype.h"

namespace spade {

// Where each row of a forward step sits in its sequence. Host memory, owned by the caller and
// unchanged until the step ends; a backend that runs elsewhere copies it. Rows of one sequence are
// consecutive and ascend in position.
struct BatchView {
  std::span<const int32_t> positions;     // (rows)
  std::span<const int32_t> sequences;     // (rows): row of block_tables
  std::span<const int32_t> block_tables;  // (sequences, table_stride): block ids, in order
  int32_t table_stride = 0;               // blocks per row of block_tables

  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
};

// The paged keys and values of one layer. Block b, slot s of a sequence holds position
// `b_index * block_size + s`, where b_index is the block's place in the sequence's block table.
// The order of elements inside a block is private to the backend.
struct KvView {
  void* keys = nullptr;    // (num_blocks, num_kv_heads, block_size, head_dim) elements
  void* values = nullptr;  // (num_blocks, num_kv_heads, block_size, head_dim) elements
  DType dtype = DType::kF32;
  int32_t block_size = 0;  // a multiple of 8
};

// Keys and values of the start token at one layer, after RoPE at position 0: the constants of the
// SPADE pass (arXiv 2507.17618; only the start token attends to nothing else).
struct StartView {
  const float* keys = nullptr;    // (num_kv_heads, head_dim)
  const float* values = nullptr;  // (num_kv_heads, head_dim)
};

}  // namespace spade
