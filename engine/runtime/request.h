#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/types.h"
#include "engine/sampling/sampler.h"
#include "engine/sampling/sampling_params.h"

namespace spade {

using Clock = std::chrono::steady_clock;

// The promise a request's answer carries (see DESIGN: EXACT, VERIFIED, FAST).
enum class ExitMode { kExact, kVerified, kFast };

// What every request carries, whatever it asks for.
struct RequestContext {
  std::string id;  // for logs
  std::vector<TokenId> prompt;
  std::string tenant;      // whose share of the server it takes; empty: those without a name
  int32_t priority = 0;    // lower runs sooner, among its tenant's
  std::string cache_salt;  // prefix-cache entries are shared within one salt only
  std::optional<Clock::time_point> deadline;
  // Not scheduled for so long, it ends as RESOURCE_EXHAUSTED; unset: the engine's bound.
  std::optional<Clock::duration> max_queue_time;
  Clock::time_point arrival = Clock::now();
};

struct GenerateRequest {
  RequestContext context;
  SamplingParams sampling;
  int32_t num_sequences = 1;          // n: independent continuations of the prompt
  std::optional<int32_t> max_tokens;  // unset: as many as the context holds
  int32_t min_tokens = 0;
  std::vector<std::string> stop;  // the text ends before the first of them
  std::vector<TokenId> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop = false;  // the stop string stays in the text
  bool skip_special_tokens = true;
  bool detokenize = true;
  std::optional<int32_t> prompt_logprobs;  // alternatives per prompt token; 0: actual token only
  // Not empty: sequence i's output is forced[i], which is scored; nothing is sampled or counted as
  // generated. One for each of num_sequences.
  std::vector<std::vector<TokenId>> forced;
  ExitMode mode = ExitMode::kExact;
  double max_mismatch = 0;  // kFast: bound on P(token != full depth's, after the same tokens)
};

enum class FinishReason { kStop, kLength };

struct Timings {
  double queue_s = 0;    // arrival to first scheduled
  double prefill_s = 0;  // first scheduled to first token
  double decode_s = 0;   // first token to last token
};

struct Usage {
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;  // of the prompt, not computed again
  int32_t output_tokens = 0;
};

// What early exit did for one sequence's tokens.
struct EarlyTokenStats {
  int32_t exited = 0;           // tokens taken at an exit (FAST), or drafted there (VERIFIED)
  int32_t accepted = 0;         // VERIFIED: drafts that were full depth's
  double layer_rows_saved = 0;  // row-layers never run, of
  double layer_rows_full = 0;   // row-layers of the output tokens' rows
};

struct SequenceFinish {
  FinishReason reason = FinishReason::kStop;
  std::optional<TokenId> stop_token;  // EOS or a stop token id
  std::optional<std::string> stop_string;
  Usage usage;
  Timings timings;
  std::optional<EarlyTokenStats> early;  // VERIFIED and FAST
};

// New output of one of the request's sequences.
struct GenerateDelta {
  int32_t index = 0;  // which of num_sequences
  SampledTokens tokens;
  std::string text;                           // whole UTF-8 characters; may lag behind the tokens
  std::vector<SampledToken> prompt_logprobs;  // first delta of a sequence only, if asked for
  std::optional<SequenceFinish> finish;       // last delta of the sequence
};

// Receives a Generate request's output on the engine's thread. Methods must return at once: they
// may not block, and may not call the engine.
class GenerateSink {
 public:
  virtual ~GenerateSink() = default;
  virtual void OnDelta(GenerateDelta delta) = 0;
  // The last call. OK after every sequence finished; else CANCELLED, DEADLINE_EXCEEDED,
  // UNAVAILABLE (shut down before it finished) or INTERNAL.
  virtual void OnDone(const absl::Status& status) = 0;
};

// One label out of a set, after the prompt.
struct DecideRequest {
  RequestContext context;
  std::vector<TokenId> labels;  // one token each, distinct, at least 2
  // In place of `labels`, kExact only: labels of any length, each scored by the sum of its tokens'
  // log-probabilities.
  std::vector<std::vector<TokenId>> label_sequences;
  std::vector<float> label_bias;  // added to label logits (log priors); empty: none
  float temperature = 1.0f;       // of the reported probabilities
  ExitMode mode = ExitMode::kExact;
  double max_mismatch = 0;  // kFast, kVerified: bound on P(label != full depth's)
};

inline size_t NumLabels(const DecideRequest& request) {
  return request.label_sequences.empty() ? request.labels.size() : request.label_sequences.size();
}

struct Decision {
  int32_t label = 0;                 // index into labels, or label_sequences
  std::vector<float> probabilities;  // (labels)
  int32_t exit_layer = 0;            // num_layers: full depth
  float entropy = 0;                 // nats: L-SPADE's at the exit taken, else of probabilities
  float threshold = 0;               // of the exit taken; 0 at full depth
  std::string certificate_id;        // empty: no early exit was allowed
  double layer_rows_saved = 0;       // row-layers not run, of layer_rows_full
  double layer_rows_full = 0;        // row-layers of the full-depth pass
  double flops_saved = 0;
  Usage usage;
  Timings timings;
};

enum class DecisionKind { kEarly, kFinal };  // kEarly: kVerified's first answer

class DecideSink {
 public:
  virtual ~DecideSink() = default;
  virtual void OnDecision(DecisionKind kind, const Decision& decision) = 0;
  virtual void OnDone(const absl::Status& status) = 0;  // as GenerateSink::OnDone
};

}  // namespace spade
