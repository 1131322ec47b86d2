#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/strings.h"
#include "engine/tokenizer/json_fields.h"

namespace spade {

// Byte-pair encoding: a piece becomes symbols (characters, or bytes where characters are missing),
// then the pair of neighbours with the lowest rank merges, leftmost first, until none can.
// Immutable and thread-safe.
class BpeModel {
 public:
  // `json`: the `model` of a tokenizer.json.
  static absl::StatusOr<std::unique_ptr<BpeModel>> FromJson(const Json& json);

  // Appends the ids of `text` (valid UTF-8) to `ids`; O(n log n) in its length.
  // FAILED_PRECONDITION where the unknown token is needed and not in the vocabulary.
  absl::Status Tokenize(std::string_view text, std::vector<int32_t>& ids) const;

  std::optional<int32_t> IdOf(std::string_view piece) const;
  std::optional<std::string_view> Piece(int32_t id) const;
  // Number of pieces, not one past the highest id.
  size_t num_pieces() const { return vocab_.size(); }
  // One past the highest id.
  int32_t id_bound() const { return static_cast<int32_t>(piece_of_.size()); }

 private:
  struct Entry {
    int32_t id;
    bool is_whole;  // tokenizing this piece's text gives just this piece
  };
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  class LongWord;

  absl::Status LoadOptions(const Json& json);
  absl::Status LoadVocab(const Json& json);
  absl::Status LoadMerges(const Json& json);
  absl::Status AddMerge(const Json& json, uint32_t rank);
  void IndexSymbols();
  void FindWholePieces();

  absl::StatusOr<std::vector<int32_t>> Symbols(std::string_view text) const;
  int32_t SymbolOf(std::string_view text, bool is_first, bool is_last) const;
  bool AppendBytes(std::string_view symbol, std::vector<int32_t>& symbols) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;
  void MergeShort(std::vector<int32_t>& symbols) const;

  std::vector<std::string> piece_of_;  // by id; empty where the id is not used
  std::vector<bool> is_used_;          // by id
  StringMap<Entry> vocab_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by left id << 32 | right id
  std::vector<int32_t> symbol_of_char_;          // by code point, for the low ones
  std::array<int32_t, 256> id_of_byte_;          // of "<0xNN>", with byte_fallback
  std::optional<std::string> unk_token_;
  std::string continuing_prefix_;
  std::string word_suffix_;
  bool byte_fallback_ = false;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
};

}  // namespace spade
