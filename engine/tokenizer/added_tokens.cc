#include "engine/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"
#include "engine/tokenizer/unicode.h"

namespace spade {
namespace {

constexpr std::string_view kWhere = "added_tokens";

bool TouchesWord(std::string_view before, std::string_view after) {
  return (!before.empty() && IsWordChar(LastChar(before).code_point)) ||
         (!after.empty() && IsWordChar(FirstChar(after).code_point));
}

size_t TrailingSpace(std::string_view text) {
  size_t size = 0;
  while (!text.empty()) {
    const Utf8Char c = LastChar(text);
    if (!IsWhitespace(c.code_point)) break;
    size += c.length;
    text.remove_suffix(c.length);
  }
  return size;
}

size_t LeadingSpace(std::string_view text) {
  size_t size = 0;
  while (size < text.size()) {
    const Utf8Char c = FirstChar(text.substr(size));
    if (!IsWhitespace(c.code_point)) break;
    size += c.length;
  }
  return size;
}

}  // namespace

void TokenTrie::Insert(std::string_view content, int32_t id) {
  uint32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    uint32_t child = Child(node, byte);
    if (child == 0) {
      child = static_cast<uint32_t>(ids_.size());
      ids_.push_back(kNoTokenId);
      if (node == 0) {
        root_[byte] = child;
      } else {
        next_.emplace(uint64_t{node} << 8 | byte, child);
      }
    }
    node = child;
  }
  if (ids_[node] == kNoTokenId) ids_[node] = id;
}

std::optional<TokenTrie::Match> TokenTrie::Find(std::string_view text, size_t start) const {
  for (size_t begin = start; begin < text.size(); ++begin) {
    std::optional<Match> longest;
    uint32_t node = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      node = Child(node, static_cast<unsigned char>(text[i]));
      if (node == 0) break;
      if (ids_[node] != kNoTokenId) longest = Match{begin, i + 1, ids_[node]};
    }
    if (longest.has_value()) return longest;
  }
  return std::nullopt;
}

uint32_t TokenTrie::Child(uint32_t node, unsigned char byte) const {
  if (node == 0) return root_[byte];
  const auto it = next_.find(uint64_t{node} << 8 | byte);
  return it == next_.end() ? 0 : it->second;
}

absl::StatusOr<AddedTokens::Token> AddedTokens::ParseToken(const Json& json) {
  Token token;
  SPADE_ASSIGN_OR_RETURN(token.content, StringField(json, "content", kWhere));
  SPADE_ASSIGN_OR_RETURN(token.single_word, BoolField(json, "single_word", kWhere, false));
  SPADE_ASSIGN_OR_RETURN(token.lstrip, BoolField(json, "lstrip", kWhere, false));
  SPADE_ASSIGN_OR_RETURN(token.rstrip, BoolField(json, "rstrip", kWhere, false));
  SPADE_ASSIGN_OR_RETURN(token.special, BoolField(json, "special", kWhere, false));
  SPADE_ASSIGN_OR_RETURN(token.normalized, BoolField(json, "normalized", kWhere, !token.special));
  return token;
}

absl::StatusOr<AddedTokens> AddedTokens::FromJson(const Json* json, const BpeModel& model,
                                                  const Normalizer* normalizer) {
  AddedTokens added;
  if (json == nullptr) return added;
  if (!json->is_array()) return BadField(kWhere, "must be an array");
  std::vector<Token> special;
  std::vector<Token> plain;
  for (const Json& item : *json) {
    SPADE_ASSIGN_OR_RETURN(const Token token, ParseToken(item));
    if (token.content.empty()) continue;
    if (token.special && added.special_.insert(token.content).second) special.push_back(token);
    if (!added.special_.contains(token.content)) plain.push_back(token);
    added.Add(token, model);
  }
  // Special tokens win where two contents become equal.
  special.insert(special.end(), plain.begin(), plain.end());
  SPADE_RETURN_IF_ERROR(added.BuildTries(special, normalizer));
  return added;
}

void AddedTokens::Add(const Token& token, const BpeModel& model) {
  std::optional<int32_t> id = IdOf(token.content);
  if (!id.has_value()) id = model.IdOf(token.content);
  if (!id.has_value()) id = std::max(static_cast<int32_t>(model.num_pieces()), id_bound_);
  ids_.insert_or_assign(token.content, *id);
  token_of_.insert_or_assign(*id, token);
  id_bound_ = std::max(id_bound_, *id + 1);
}

absl::Status AddedTokens::BuildTries(const std::vector<Token>& tokens,
                                     const Normalizer* normalizer) {
  for (const Token& token : tokens) {
    const int32_t id = ids_.at(token.content);
    if (!token.normalized || normalizer == nullptr) {
      (token.normalized ? normalized_ : raw_).Insert(token.content, id);
      continue;
    }
    MatchScratch scratch(token.content.size());
    SPADE_ASSIGN_OR_RETURN(const std::string content, normalizer->Apply(token.content, scratch));
    if (!content.empty()) normalized_.Insert(content, id);
  }
  return absl::OkStatus();
}

std::vector<TokenTrie::Match> AddedTokens::FindMatches(std::string_view text,
                                                       const TokenTrie& trie) const {
  std::vector<TokenTrie::Match> matches;
  size_t done = 0;
  std::optional<TokenTrie::Match> found = trie.Find(text, 0);
  for (; found.has_value(); found = trie.Find(text, found->end)) {
    TokenTrie::Match match = *found;
    const Token& token = token_of_.at(match.id);
    if (token.single_word && TouchesWord(text.substr(0, match.begin), text.substr(match.end))) {
      continue;
    }
    if (token.lstrip) {
      match.begin = std::max(match.begin - TrailingSpace(text.substr(0, match.begin)), done);
    }
    if (token.rstrip) match.end += LeadingSpace(text.substr(match.end));
    done = match.end;
    matches.push_back(match);
  }
  return matches;
}

absl::StatusOr<PreTokenized> AddedTokens::Extract(std::string_view text,
                                                  const Normalizer* normalizer,
                                                  MatchScratch& scratch) const {
  PreTokenized result;
  result.Reserve(text.size());
  const auto cut = [&](std::string_view segment, bool at_start, const TokenTrie& trie,
                       auto append_text) -> absl::Status {
    size_t done = 0;
    const auto append_gap = [&](size_t end) {
      return done < end ? append_text(segment.substr(done, end - done), at_start && done == 0)
                        : absl::OkStatus();
    };
    for (const TokenTrie::Match& match : FindMatches(segment, trie)) {
      SPADE_RETURN_IF_ERROR(append_gap(match.begin));
      result.Append(segment.substr(match.begin, match.end - match.begin),
                    at_start && match.begin == 0, match.id);
      done = match.end;
    }
    return append_gap(segment.size());
  };
  const auto append_normalized = [&](std::string_view piece, bool at_start) {
    result.Append(piece, at_start);
    return absl::OkStatus();
  };
  const auto append_raw = [&](std::string_view piece, bool at_start) -> absl::Status {
    if (normalizer == nullptr) return cut(piece, at_start, normalized_, append_normalized);
    SPADE_ASSIGN_OR_RETURN(const std::string clean, normalizer->Apply(std::string(piece), scratch));
    return cut(clean, at_start, normalized_, append_normalized);
  };
  SPADE_RETURN_IF_ERROR(cut(text, /*at_start=*/true, raw_, append_raw));
  return result;
}

std::optional<int32_t> AddedTokens::IdOf(std::string_view content) const {
  const auto it = ids_.find(content);
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

std::optional<std::string_view> AddedTokens::Piece(int32_t id) const {
  const auto it = token_of_.find(id);
  if (it == token_of_.end()) return std::nullopt;
  return it->second.content;
}

}  // namespace spade
