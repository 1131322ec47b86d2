#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sampling/sampler.h"
#include "kernels/logit_reader.h"

namespace spade {

static_assert(kMaxLogprobs <= kMaxTopLogits);

// The sampler's calls as queries of a backend's LogitReader, which answers them where the logits
// are. Reused, so that a steady state allocates nothing.
struct LogitQueries {
  std::vector<LogitQuery> queries;
  std::vector<LogitEdit> edits;
  std::vector<TokenId> allowed;

  void Clear() {
    queries.clear();
    edits.clear();
    allowed.clear();
  }
  LogitReading reading() const { return {.queries = queries, .edits = edits, .allowed = allowed}; }
};

// Biases and bans of one row, each of which is compared with all others; and allowed ids, which are
// sorted.
inline constexpr size_t kMaxListedIds = 1024;

// The query of Sample's draw in row `row`, without bias, bans and penalties.
LogitQuery PlainDraw(int32_t row, const SamplingParams& params, uint32_t sequence_index,
                     int32_t position);

// Adds the query whose answer is that of Sample with these arguments and logits of `vocab_size`.
// False, and nothing added, where the row had better be copied to the host: with more than
// kMaxListedIds, or where bias, bans, penalties and allowed ids come to more than half of the row's
// bytes. That hangs on the arguments alone.
bool AddDraw(int32_t row, int32_t vocab_size, const SamplingParams& params,
             const TokenHistory& history, std::span<const TokenId> banned, uint32_t sequence_index,
             int32_t position, LogitQueries& queries);

// Adds the query whose answer is that of Score.
void AddScore(int32_t row, TokenId actual, int32_t count, LogitQueries& queries);

// The answer to `query`, as the sampler gives it.
SampledToken TokenOf(const LogitQuery& query, const LogitAnswer& answer);

}  // namespace spade
