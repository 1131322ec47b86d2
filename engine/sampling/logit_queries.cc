#include "engine/sampling/logit_queries.h"

#include <algorithm>
#include <limits>

#include "engine/sampling/draw_noise.h"

namespace spade {
namespace {

constexpr float kBan = -std::numeric_limits<float>::infinity();

bool InVocabulary(TokenId id, int32_t vocab_size) { return id >= 0 && id < vocab_size; }

// In the order of sampling_params.h.
void AddEdits(int32_t vocab_size, const SamplingParams& params, const TokenHistory& history,
              std::span<const TokenId> banned, LogitQueries& queries, LogitQuery& query) {
  std::vector<LogitEdit>& edits = queries.edits;
  query.first_edit = static_cast<int32_t>(edits.size());
  for (const auto& [id, bias] : params.logit_bias) edits.push_back({id, bias});
  for (const TokenId id : banned) {
    if (InVocabulary(id, vocab_size)) edits.push_back({id, kBan});
  }
  query.num_added = static_cast<int32_t>(edits.size()) - query.first_edit;
  if (!params.has_penalties()) return;
  query.repetition_penalty = params.repetition_penalty;
  for (const auto& [id, count] : history.counts()) {
    if (!InVocabulary(id, vocab_size)) continue;
    const float less = params.frequency_penalty * static_cast<float>(count);
    edits.push_back({id, count == 0 ? 0.0f : less + params.presence_penalty});
  }
  query.num_penalised = static_cast<int32_t>(edits.size()) - query.first_edit - query.num_added;
}

void AddAllowed(std::span<const TokenId> ids, LogitQueries& queries, LogitQuery& query) {
  std::vector<TokenId>& allowed = queries.allowed;
  query.first_allowed = static_cast<int32_t>(allowed.size());
  allowed.insert(allowed.end(), ids.begin(), ids.end());
  const auto first = allowed.begin() + query.first_allowed;
  std::sort(first, allowed.end());
  allowed.erase(std::unique(first, allowed.end()), allowed.end());
  query.num_allowed = static_cast<int32_t>(allowed.size()) - query.first_allowed;
}

}  // namespace

LogitQuery PlainDraw(int32_t row, const SamplingParams& params, uint32_t sequence_index,
                     int32_t position) {
  LogitQuery query;
  query.row = row;
  query.temperature = params.temperature;
  if (params.greedy()) return query;
  query.top_k = params.top_k;
  query.top_p = params.top_p;
  query.min_p = params.min_p;
  query.uniform = DrawNoise(params.seed, sequence_index, position) << 11;
  return query;
}

bool AddDraw(int32_t row, int32_t vocab_size, const SamplingParams& params,
             const TokenHistory& history, std::span<const TokenId> banned, uint32_t sequence_index,
             int32_t position, LogitQueries& queries) {
  const size_t penalised = params.has_penalties() ? history.counts().size() : 0;
  const size_t biases = params.logit_bias.size() + banned.size();
  const size_t bytes =
      (biases + penalised) * sizeof(LogitEdit) + params.allowed_token_ids.size() * sizeof(TokenId);
  if (biases > kMaxListedIds || params.allowed_token_ids.size() > kMaxListedIds) return false;
  if (2 * bytes > static_cast<size_t>(vocab_size) * sizeof(float)) return false;
  LogitQuery query = PlainDraw(row, params, sequence_index, position);
  if (biases + penalised > 0) AddEdits(vocab_size, params, history, banned, queries, query);
  if (!params.allowed_token_ids.empty()) AddAllowed(params.allowed_token_ids, queries, query);
  if (params.num_logprobs.has_value()) query.num_top = *params.num_logprobs;
  queries.queries.push_back(query);
  return true;
}

void AddScore(int32_t row, TokenId actual, int32_t count, LogitQueries& queries) {
  LogitQuery query;
  query.row = row;
  query.scored = actual;
  query.num_top = count > 0 ? count : 0;
  queries.queries.push_back(query);
}

SampledToken TokenOf(const LogitQuery& query, const LogitAnswer& answer) {
  SampledToken token{.id = answer.token, .top = {}};
  if (query.num_top < 0) return token;
  token.logprob = answer.logprob;
  token.rank = answer.rank;
  for (size_t i = 0; i < static_cast<size_t>(answer.num_top); ++i) {
    token.top.push_back({answer.top[i].id, answer.top[i].logprob});
  }
  return token;
}

}  // namespace spade
