#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/base/types.h"
#include "engine/tokenizer/pattern.h"

namespace spade {

// A piece of PreTokenized::text: an added token found in it, or text still to be tokenized.
struct Piece {
  size_t begin;  // bytes into PreTokenized::text
  size_t end;
  int32_t token_id;  // kNoTokenId for text
  bool at_start;     // nothing of the original text stands before it
};

enum class SplitBehavior {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

struct SplitRule {
  SplitBehavior behavior;
  bool invert = false;  // the text between the matches counts as matches, and the reverse
};

// Text on its way to the model, cut into pieces in order. Empty text pieces never stay.
class PreTokenized {
 public:
  void Reserve(size_t text_size) { text_.reserve(text_size); }
  // Copies `text` in; empty text without an id is dropped.
  void Append(std::string_view text, bool at_start, int32_t token_id = kNoTokenId);

  // Cuts every text piece at the matches of `pattern`.
  absl::Status Split(const Pattern& pattern, SplitRule rule, MatchScratch& scratch);
  // Cuts every text piece at the characters of which `is_match` holds.
  void Split(absl::FunctionRef<bool(char32_t)> is_match, SplitRule rule);
  // Cuts every text piece after each `length` characters.
  void SplitEvery(size_t length);
  // Rewrites every text piece: `rewrite` appends the new text of a piece to its last argument.
  void Rewrite(absl::FunctionRef<void(std::string_view, const Piece&, std::string&)> rewrite);

  const std::vector<Piece>& pieces() const { return pieces_; }
  std::string_view TextOf(const Piece& piece) const {
    return std::string_view(text_).substr(piece.begin, piece.end - piece.begin);
  }

 private:
  std::string text_;
  std::vector<Piece> pieces_;
};

}  // namespace spade
