#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/strings.h"
#include "engine/tokenizer/bpe_model.h"
#include "engine/tokenizer/json_fields.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/pre_tokenized.h"

namespace spade {

// Finds the longest of a set of strings at a place in a text. Immutable once filled.
class TokenTrie {
 public:
  struct Match {
    size_t begin;
    size_t end;
    int32_t id;
  };

  TokenTrie() { root_.fill(0); }
  // `content` must not be empty; of two equal ones the first counts.
  void Insert(std::string_view content, int32_t id);
  // The leftmost match at or after `start`, the longest of those.
  std::optional<Match> Find(std::string_view text, size_t start) const;

 private:
  uint32_t Child(uint32_t node, unsigned char byte) const;

  std::array<uint32_t, 256> root_;                // child of the root by byte, 0 for none
  absl::flat_hash_map<uint64_t, uint32_t> next_;  // node << 8 | byte to child
  std::vector<int32_t> ids_ = {kNoTokenId};       // by node; node 0 is the root
};

// The added tokens of a tokenizer.json: matched in the text before the model sees it. Immutable and
// thread-safe.
class AddedTokens {
 public:
  // `json`: the `added_tokens`, or nullptr for none. A token that the model knows has the model's
  // id; the others are numbered on from the model's pieces in file order, whatever their `id`
  // field says, as the reference implementation does. Neither pointer is kept.
  static absl::StatusOr<AddedTokens> FromJson(const Json* json, const BpeModel& model,
                                              const Normalizer* normalizer);

  // Cuts `text` at the added tokens and normalizes the rest. `normalizer` may be nullptr.
  absl::StatusOr<PreTokenized> Extract(std::string_view text, const Normalizer* normalizer,
                                       MatchScratch& scratch) const;

  std::optional<int32_t> IdOf(std::string_view content) const;
  std::optional<std::string_view> Piece(int32_t id) const;
  bool IsSpecial(std::string_view content) const { return special_.contains(content); }
  // One past the highest id, 0 without added tokens.
  int32_t id_bound() const { return id_bound_; }

 private:
  struct Token {
    std::string content;
    bool single_word;
    bool lstrip;
    bool rstrip;
    bool normalized;
    bool special;
    bool operator==(const Token&) const = default;
  };

  static absl::StatusOr<Token> ParseToken(const Json& json);
  void Add(const Token& token, const BpeModel& model);
  absl::Status BuildTries(const std::vector<Token>& tokens, const Normalizer* normalizer);
  std::vector<TokenTrie::Match> FindMatches(std::string_view text, const TokenTrie& trie) const;

  StringMap<int32_t> ids_;
  absl::flat_hash_map<int32_t, Token> token_of_;
  StringSet special_;
  TokenTrie raw_;         // matched in the text as it came
  TokenTrie normalized_;  // normalized themselves, matched in the normalized text
  int32_t id_bound_ = 0;
};

}  // namespace spade
