#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/heads.h"

// Operations that treat rows apart. All pointers are to device memory; every call returns when its
// kernel is queued on `stream`. A row's bits depend on that row alone.

namespace spade::cuda {

// Bytes moved: x once (the second read hits the L1), out once.
struct RmsNormArgs {
  const float* x = nullptr;       // (rows, cols)
  const float* weight = nullptr;  // (cols)
  float epsilon = 0;
  int64_t rows = 0;
  int64_t cols = 0;
  float* out = nullptr;  // (rows, cols); may be x
};
void RmsNorm(const RmsNormArgs& args, cudaStream_t stream);

// angles(r, i) = cos(positions[r] * inv_freq[i]), angles(r, half + i) = sin(...): (rows, 2 half).
struct RopeAnglesArgs {
  const int32_t* positions = nullptr;
  const float* inv_freq = nullptr;  // (half)
  int64_t rows = 0;
  int64_t half = 0;
  float* angles = nullptr;
};
void RopeAngles(const RopeAnglesArgs& args, cudaStream_t stream);

// Normalises and rotates queries and keys in place. Bytes moved: they once each way.
struct RopeArgs {
  float* qkv = nullptr;  // (rows, qkv_cols)
  HeadLayout heads;      // head_dim a multiple of 8, at most 256
  QkNorm norm;
  const float* angles = nullptr;  // (rows, head_dim)
  int64_t rows = 0;
};
void Rope(const RopeArgs& args, cudaStream_t stream);

// out(r, c) = silu(gate_up(r, c)) * gate_up(r, cols + c). Bytes moved: 12 an element of out.
struct SiluMulArgs {
  const float* gate_up = nullptr;  // (rows, 2 cols)
  int64_t rows = 0;
  int64_t cols = 0;
  float* out = nullptr;  // (rows, cols)
};
void SiluMul(const SiluMulArgs& args, cudaStream_t stream);

// Attention over {start token, itself}. No cache is read: qkv once, out once.
struct StartSelfArgs {
  const float* qkv = nullptr;  // (rows, qkv_cols)
  HeadLayout heads;
  const float* start_keys = nullptr;    // (kv_heads, head_dim)
  const float* start_values = nullptr;  // (kv_heads, head_dim)
  int64_t rows = 0;
  float* out = nullptr;  // (rows, q_cols)
};
void StartSelfAttention(const StartSelfArgs& args, cudaStream_t stream);

// out(to[i], :) = x(from[i], :) for i in [0, count); `to` null: i itself. x and out are apart.
struct CopyRowsArgs {
  const float* x = nullptr;
  const int32_t* from = nullptr;
  const int32_t* to = nullptr;
  int64_t count = 0;
  int64_t cols = 0;
  float* out = nullptr;
};
void CopyRows(const CopyRowsArgs& args, cudaStream_t stream);
// The same where out is x, `to` is null and `from` ascends.
void CompactRows(const CopyRowsArgs& args, cudaStream_t stream);

// out(r, :) = bias, or out(r, :) += bias.
struct AddBiasArgs {
  const float* bias = nullptr;  // (cols)
  bool accumulate = false;
  int64_t rows = 0;
  int64_t cols = 0;
  float* out = nullptr;
};
void AddBias(const AddBiasArgs& args, cudaStream_t stream);

}  // namespace spade::cuda
