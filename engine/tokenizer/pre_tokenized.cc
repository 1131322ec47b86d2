#include "engine/tokenizer/pre_tokenized.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"

namespace spade {
namespace {

// A run of a piece's text: a match, or what lies between two.
struct Run {
  size_t begin;
  size_t end;
  bool is_match;
};

// Collects the matches in one piece and fills the gaps between them.
class RunCollector {
 public:
  explicit RunCollector(std::vector<Run>& runs) : runs_(runs) { runs_.clear(); }
  void Add(size_t begin, size_t end) {
    if (done_ < begin) runs_.push_back({done_, begin, false});
    runs_.push_back({begin, end, true});
    done_ = end;
  }
  void Finish(size_t size) {
    if (done_ < size) runs_.push_back({done_, size, false});
  }

 private:
  std::vector<Run>& runs_;
  size_t done_ = 0;
};

// Joins `next` to the run before it where the behavior says so.
bool Joins(SplitBehavior behavior, const Run& previous, const Run& next) {
  switch (behavior) {
    case SplitBehavior::kContiguous:
      return previous.is_match == next.is_match;
    case SplitBehavior::kMergedWithPrevious:
      return next.is_match && !previous.is_match;
    case SplitBehavior::kMergedWithNext:
      return previous.is_match && !next.is_match;
    case SplitBehavior::kIsolated:
    case SplitBehavior::kRemoved:
      break;
  }
  return false;
}

// Turns the runs of `piece` into pieces.
void AppendPieces(const Piece& piece, const std::vector<Run>& runs, SplitRule rule,
                  std::vector<Piece>& pieces) {
  const size_t first = pieces.size();
  const Run* previous = nullptr;
  for (const Run& run : runs) {
    const bool is_match = run.is_match != rule.invert;
    if (rule.behavior == SplitBehavior::kRemoved && is_match) continue;
    const Run current = {run.begin, run.end, is_match};
    const bool joins =
        previous != nullptr && pieces.size() > first &&
        Joins(rule.behavior, {previous->begin, previous->end, previous->is_match != rule.invert},
              current);
    if (joins) {
      pieces.back().end = piece.begin + run.end;
    } else {
      pieces.push_back({piece.begin + run.begin, piece.begin + run.end, kNoTokenId,
                        piece.at_start && run.begin == 0});
    }
    previous = &run;
  }
  // Empty matches part their neighbours, but make no piece.
  const auto is_empty = [](const Piece& part) { return part.begin == part.end; };
  pieces.erase(std::remove_if(pieces.begin() + first, pieces.end(), is_empty), pieces.end());
}

}  // namespace

void PreTokenized::Append(std::string_view text, bool at_start, int32_t token_id) {
  if (text.empty() && token_id == kNoTokenId) return;
  const size_t begin = text_.size();
  text_ += text;
  pieces_.push_back({begin, text_.size(), token_id, at_start});
}

absl::Status PreTokenized::Split(const Pattern& pattern, SplitRule rule, MatchScratch& scratch) {
  std::vector<Piece> pieces;
  std::vector<Run> runs;
  for (const Piece& piece : pieces_) {
    if (piece.token_id != kNoTokenId) {
      pieces.push_back(piece);
      continue;
    }
    RunCollector collector(runs);
    SPADE_RETURN_IF_ERROR(pattern.ForEachMatch(TextOf(piece), scratch, [&](Regex::Match match) {
      collector.Add(match.begin, match.end);
    }));
    collector.Finish(piece.end - piece.begin);
    AppendPieces(piece, runs, rule, pieces);
  }
  pieces_ = std::move(pieces);
  return absl::OkStatus();
}

void PreTokenized::Split(absl::FunctionRef<bool(char32_t)> is_match, SplitRule rule) {
  std::vector<Piece> pieces;
  std::vector<Run> runs;
  for (const Piece& piece : pieces_) {
    if (piece.token_id != kNoTokenId) {
      pieces.push_back(piece);
      continue;
    }
    const std::string_view text = TextOf(piece);
    RunCollector collector(runs);
    for (size_t i = 0; i < text.size();) {
      const Utf8Char c = FirstChar(text.substr(i));
      if (is_match(c.code_point)) collector.Add(i, i + c.length);
      i += c.length;
    }
    collector.Finish(text.size());
    AppendPieces(piece, runs, rule, pieces);
  }
  pieces_ = std::move(pieces);
}

void PreTokenized::SplitEvery(size_t length) {
  std::vector<Piece> pieces;
  for (const Piece& piece : pieces_) {
    if (piece.token_id != kNoTokenId) {
      pieces.push_back(piece);
      continue;
    }
    Piece part = {piece.begin, piece.begin, kNoTokenId, piece.at_start};
    while (part.begin < piece.end) {
      for (size_t i = 0; i < length && part.end < piece.end; ++i) {
        part.end += FirstChar(std::string_view(text_).substr(part.end)).length;
      }
      pieces.push_back(part);
      part = {part.end, part.end, kNoTokenId, false};
    }
  }
  pieces_ = std::move(pieces);
}

void PreTokenized::Rewrite(
    absl::FunctionRef<void(std::string_view, const Piece&, std::string&)> rewrite) {
  std::string text;
  text.reserve(text_.size() + text_.size() / 4);
  for (Piece& piece : pieces_) {
    const std::string_view old = TextOf(piece);
    const size_t begin = text.size();
    if (piece.token_id == kNoTokenId) {
      rewrite(old, piece, text);
    } else {
      text += old;
    }
    piece.begin = begin;
    piece.end = text.size();
  }
  text_ = std::move(text);
}

}  // namespace spade
