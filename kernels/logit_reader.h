#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "kernels/tensor.h"

namespace spade {

inline constexpr int32_t kMaxTopLogits = 20;
inline constexpr int64_t kMaxReadTokens = int64_t{1} << 20;

// A change of one logit before the draw. Added: logit + value. Penalised: a positive logit is
// divided by LogitQuery::repetition_penalty, another one multiplied by it; then less value.
struct LogitEdit {
  int32_t id = 0;
  float value = 0;
};

// What is asked of one row: a draw as engine/sampling/sampler.h defines it, or the score of a
// token.
struct LogitQuery {
  int32_t row = 0;
  float temperature = 0;  // 0: the highest logit
  int32_t top_k = 0;      // 0: off
  float top_p = 1;        // 1: off
  float min_p = 0;        // 0: off
  uint64_t uniform = 0;   // the draw's number in [0, 1), times 2^64
  // Edits of LogitReading::edits from first_edit on: first those that add, an id as often as
  // wanted, -infinity to ban it; then those that penalise, an id once.
  int32_t first_edit = 0;
  int32_t num_added = 0;
  int32_t num_penalised = 0;
  float repetition_penalty = 1;
  // The only tokens that can be drawn, of LogitReading::allowed; none: all.
  int32_t first_allowed = 0;
  int32_t num_allowed = 0;
  int32_t scored = -1;   // the token to be scored; -1: one is drawn, and that one
  int32_t num_top = -1;  // best tokens to be listed beside the score, at most kMaxTopLogits; -1:
                         // no score
};

// The last column is no token but stands for all that are missing: `bias` is added to it, and the
// entropy of the softmax over all columns, divided by `temperature`, is asked for.
struct OtherTokens {
  float bias = 0;
  float temperature = 1;
};

struct LogitReading {
  std::span<const LogitQuery> queries;  // a row at most once
  std::span<const LogitEdit> edits = {};
  std::span<const int32_t> allowed = {};  // of each query ascending, without repeats
  std::optional<OtherTokens> other = std::nullopt;
};

struct LogitScore {
  int32_t id = 0;
  float logprob = 0;
};

struct LogitAnswer {
  int32_t token = 0;  // drawn or scored; -1: nothing can be drawn
  float entropy = 0;  // nats; infinite where a logit is not finite. 0 if not asked for
  // Of the row's own logits, before edits and temperature; only with num_top >= 0.
  float logprob = 0;
  int32_t rank = 0;
  int32_t num_top = 0;
  std::array<LogitScore, kMaxTopLogits> top = {};  // most probable first
};

// Reads rows of logits where they are, in memory that the host cannot read, so that a few bytes a
// row cross the bus in place of the vocabulary. Part of a Backend, with its threading.
//
// A draw gives the token that the host's sampler gives from the same logits, except where the
// rounding of sums decides: here weights are summed as integers, in units of 2^-43 of the most
// probable token's. So a draw depends on its row and query alone, to the bit, in any order of
// summation. NaN and -infinity cannot be drawn, +infinity counts as the largest float, ties go to
// the lowest id; where the edits leave nothing, the highest (allowed) logit before them is drawn;
// where there is none, no token.
class LogitReader {
 public:
  virtual ~LogitReader() = default;

  // logits: (rows, at most kMaxReadTokens), changed only meanwhile; answers: one a query.
  // Waits for the answers.
  virtual void Read(Tensor logits, const LogitReading& reading, std::span<LogitAnswer> answers) = 0;
};

}  // namespace spade
