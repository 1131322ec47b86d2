#pragma once

#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/warp.h"

// Device code only.

namespace spade::cuda {

// A head's elements in a warp: a lane holds elements i and half + i, which turn together.
struct HeadPairs {
  static constexpr int kMost = 256 / 2 / kWarp;  // of a lane
  float first[kMost];
  float second[kMost];
};

// Normalises and rotates head `head` (of queries, then keys) of a row, in place.
__device__ inline HeadPairs TurnHead(const RopeArgs& args, int64_t row, int32_t head) {
  const int32_t half = args.heads.head_dim / 2;
  float* x = args.qkv + row * args.heads.qkv_cols() + int64_t{head} * args.heads.head_dim;
  const float* angles = args.angles + row * args.heads.head_dim;
  HeadPairs pairs;
  float squares = 0;
#pragma unroll
  for (int pair = 0; pair < HeadPairs::kMost; ++pair) {
    const int i = pair * kWarp + Lane();
    const float a = pairs.first[pair] = i < half ? x[i] : 0.0f;
    const float b = pairs.second[pair] = i < half ? x[half + i] : 0.0f;
    squares = fmaf(a, a, fmaf(b, b, squares));
  }
  const float* weight = head < args.heads.q_heads ? args.norm.q_weight : args.norm.k_weight;
  float scale = 1;
  if (weight != nullptr) {
    const float mean = WarpSum(squares) / static_cast<float>(args.heads.head_dim);
    scale = 1.0f / sqrtf(mean + args.norm.epsilon);
  }
#pragma unroll
  for (int pair = 0; pair < HeadPairs::kMost; ++pair) {
    const int i = pair * kWarp + Lane();
    if (i >= half) continue;
    float a = pairs.first[pair];
    float b = pairs.second[pair];
    if (weight != nullptr) {
      a = a * scale * weight[i];
      b = b * scale * weight[half + i];
    }
    const float cosine = angles[i];
    const float sine = angles[half + i];
    x[i] = pairs.first[pair] = fmaf(-b, sine, a * cosine);
    x[half + i] = pairs.second[pair] = fmaf(a, sine, b * cosine);
  }
  return pairs;
}

}  // namespace spade::cuda
