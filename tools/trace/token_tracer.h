#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/trace/loaded_model.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/token_traces.h"

namespace spade {

struct TokenTraceOptions {
  int32_t first_layer = 1;
  int32_t num_tokens = 32;      // generated greedily a prompt
  int32_t rows_per_prompt = 8;  // kept of them, drawn at random
  uint64_t seed = 1;
};

// Continues prompts greedily at full depth and writes down what early exit would have seen of the
// generated tokens' rows: the distribution it will meet, since a token that leaves is full depth's
// but for the certified few. And what the SPADE pass from each watched layer makes of those rows.
class TokenTracer {
 public:
  // `loaded` has an exit after each of the layers first_layer .. num_layers - 1, and outlives this.
  TokenTracer(LoadedModel& loaded, const TokenTraceOptions& options);

  // Without records.
  TokenTraces shape() const;
  // How many of `prompts`, from the first on, fit one batch: at least 1. Each has room for the
  // generated tokens in the model's context.
  size_t BatchSize(std::span<const Prompt> prompts) const;
  // Their records, rows_per_prompt each. A continuation that ends early gives some rows more than
  // once. `index`: of the first prompt among all, for the draw of rows. INVALID_ARGUMENT where the
  // model makes of a prompt what is not finite.
  absl::StatusOr<std::vector<float>> Trace(std::span<const Prompt> prompts, size_t index);

 private:
  std::vector<TokenId> Prefill(std::span<const Prompt> prompts);
  void Decode(int32_t step, std::vector<TokenId>& tokens);
  // Runs the SPADE passes from all watched layers, the rows at `positions` (records), and writes
  // where they ended into `records`.
  void RunTails(std::span<const int32_t> positions, std::span<float> records);
  // The same for as many as fit one climb.
  void RunTailBatch(std::span<const int32_t> positions, std::span<float> records);
  float* Record(size_t prompt, int32_t step) {
    return all_.data() +
           (static_cast<int64_t>(prompt) * options_.num_tokens + step) * shape().record_floats();
  }

  LoadedModel& loaded_;
  const TokenTraceOptions options_;
  RowBatch batch_;
  std::vector<int32_t> lengths_;   // (prompts)
  std::vector<int32_t> num_rows_;  // (prompts): generated rows before the end of the text
  std::vector<float> all_;         // (prompts, num_tokens, record_floats)
};

}  // namespace spade
