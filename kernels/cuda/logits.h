#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/logit_reader.h"

// Draws from rows of logits and scores of them, on the GPU: one block a row.

namespace spade::cuda {

using Fixed = unsigned long long;  // sums of weights, or of counts

// Weights are at most 1, and kMaxReadTokens of them are summed in 64 bits.
inline constexpr float kFixedOne = 0x1p43f;
static_assert(kMaxReadTokens <= int64_t{1} << 20);

// LogitQuery as the kernel takes it.
struct LogitAsk {
  Fixed uniform = 0;
  Fixed top_p = 0;       // times 2^64; 0: off
  double log_min_p = 0;  // somewhat below log(min_p)
  int32_t row = 0;
  int32_t scored = -1;
  int32_t score = -1;  // the place in LogitArgs::scores; -1: no score
  int32_t num_top = 0;
  int32_t top_k = 0;
  int32_t first_edit = 0;
  int32_t num_added = 0;
  int32_t num_penalised = 0;
  int32_t first_allowed = 0;
  int32_t num_allowed = 0;
  float temperature = 0;
  float min_p = 0;
  float repetition_penalty = 1;
};

static_assert(sizeof(LogitAsk) == 80);

struct LogitScoreOut {
  Fixed sum = 0;  // of exp(logit - max), in units of 1 / kFixedOne; 0: nothing can be drawn
  float max = 0;
  float logit = 0;  // of the token; -infinity if it cannot be drawn
  int32_t rank = 0;
  int32_t num_top = 0;
  int32_t top_ids[kMaxTopLogits] = {};
  float top_logits[kMaxTopLogits] = {};
};

static_assert(sizeof(LogitScoreOut) == 184);

// Bytes moved: the logits once, from the L2 again for each of a draw's further passes (none where
// the highest is taken, one for a temperature alone, one or two with top_k, top_p or min_p that
// leave up to 512 tokens, up to six more a cut that leaves more).
struct LogitArgs {
  float* logits = nullptr;  // (rows, cols)
  int64_t cols = 0;
  int32_t num_tokens = 0;  // cols, or one less
  bool vectors = false;    // rows are aligned to 16 bytes
  bool wants_entropy = false;
  OtherTokens other;
  const LogitAsk* asks = nullptr;  // (count)
  int64_t count = 0;
  const int32_t* allowed = nullptr;
  float* gathered = nullptr;  // as many: their logits
  const LogitEdit* edits = nullptr;
  float* saved = nullptr;      // as many: what the edits replace
  int32_t* tokens = nullptr;   // (count)
  float* entropies = nullptr;  // (count)
  LogitScoreOut* scores = nullptr;
};
void ReadLogits(const LogitArgs& args, cudaStream_t stream);

}  // namespace spade::cuda
