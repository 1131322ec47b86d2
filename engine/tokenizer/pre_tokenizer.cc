#include "engine/tokenizer/pre_tokenizer.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"
#include "engine/tokenizer/byte_level.h"
#include "engine/tokenizer/metaspace.h"
#include "engine/tokenizer/unicode.h"

namespace spade {
namespace {

using PreTokenizerOr = absl::StatusOr<std::unique_ptr<PreTokenizer>>;

// The pattern of GPT-2, which ByteLevel applies unless told otherwise.
constexpr std::string_view kByteLevelRegex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<std::unique_ptr<PreTokenizer>> steps)
      : steps_(std::move(steps)) {}

  absl::Status Apply(PreTokenized& text, MatchScratch& scratch) const override {
    for (const auto& step : steps_) SPADE_RETURN_IF_ERROR(step->Apply(text, scratch));
    return absl::OkStatus();
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

class PatternPreTokenizer final : public PreTokenizer {
 public:
  PatternPreTokenizer(Pattern pattern, SplitRule rule)
      : pattern_(std::move(pattern)), rule_(rule) {}

  absl::Status Apply(PreTokenized& text, MatchScratch& scratch) const override {
    return text.Split(pattern_, rule_, scratch);
  }

 private:
  Pattern pattern_;
  SplitRule rule_;
};

class CharClassPreTokenizer final : public PreTokenizer {
 public:
  using Predicate = bool (*)(char32_t);
  CharClassPreTokenizer(Predicate is_match, SplitRule rule) : is_match_(is_match), rule_(rule) {}

  absl::Status Apply(PreTokenized& text, MatchScratch&) const override {
    text.Split(is_match_, rule_);
    return absl::OkStatus();
  }

 private:
  Predicate is_match_;
  SplitRule rule_;
};

class DelimiterPreTokenizer final : public PreTokenizer {
 public:
  explicit DelimiterPreTokenizer(char32_t delimiter) : delimiter_(delimiter) {}

  absl::Status Apply(PreTokenized& text, MatchScratch&) const override {
    text.Split([this](char32_t c) { return c == delimiter_; }, {SplitBehavior::kRemoved});
    return absl::OkStatus();
  }

 private:
  char32_t delimiter_;
};

class FixedLengthPreTokenizer final : public PreTokenizer {
 public:
  explicit FixedLengthPreTokenizer(size_t length) : length_(length) {}

  absl::Status Apply(PreTokenized& text, MatchScratch&) const override {
    text.SplitEvery(length_);
    return absl::OkStatus();
  }

 private:
  size_t length_;
};

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  ByteLevelPreTokenizer(bool add_prefix_space, std::optional<Pattern> pattern)
      : add_prefix_space_(add_prefix_space), pattern_(std::move(pattern)) {}

  absl::Status Apply(PreTokenized& text, MatchScratch& scratch) const override {
    if (add_prefix_space_) {
      text.Rewrite([](std::string_view old, const Piece&, std::string& result) {
        result += StrCat(old.starts_with(" ") ? "" : " ", old);
      });
    }
    if (pattern_.has_value()) {
      SPADE_RETURN_IF_ERROR(text.Split(*pattern_, {SplitBehavior::kIsolated}, scratch));
    }
    text.Rewrite([](std::string_view old, const Piece&, std::string& result) {
      AppendByteLevel(old, result);
    });
    return absl::OkStatus();
  }

 private:
  bool add_prefix_space_;
  std::optional<Pattern> pattern_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(Metaspace metaspace) : metaspace_(metaspace) {
    AppendUtf8(metaspace_.replacement, replacement_);
  }

  absl::Status Apply(PreTokenized& text, MatchScratch&) const override {
    text.Rewrite([this](std::string_view old, const Piece& piece, std::string& result) {
      RewritePiece(old, piece.at_start, result);
    });
    if (metaspace_.split) {
      text.Split([this](char32_t c) { return c == metaspace_.replacement; },
                 {SplitBehavior::kMergedWithNext});
    }
    return absl::OkStatus();
  }

 private:
  void RewritePiece(std::string_view old, bool at_start, std::string& result) const {
    const bool wants_prefix = metaspace_.scheme == Metaspace::Scheme::kAlways ||
                              (metaspace_.scheme == Metaspace::Scheme::kFirst && at_start);
    const bool has_prefix = old.starts_with(" ") || old.starts_with(replacement_);
    if (wants_prefix && !has_prefix) result += replacement_;
    for (const char c : old) {
      if (c == ' ') {
        result += replacement_;
      } else {
        result += c;
      }
    }
  }

  Metaspace metaspace_;
  std::string replacement_;
};

absl::StatusOr<SplitBehavior> ParseBehavior(const Json& json, std::string_view where,
                                            std::optional<std::string> fallback = std::nullopt) {
  SPADE_ASSIGN_OR_RETURN(const std::string name,
                         StringField(json, "behavior", where, std::move(fallback)));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return NotSupported(where, StrCat("behavior ", name));
}

PreTokenizerOr MakeSequence(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const Json* parts,
                         ArrayField(json, "pretokenizers", "Sequence pre-tokenizer"));
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  for (const Json& part : *parts) {
    SPADE_ASSIGN_OR_RETURN(steps.emplace_back(), MakePreTokenizer(part));
  }
  return std::make_unique<SequencePreTokenizer>(std::move(steps));
}

PreTokenizerOr MakeSplit(const Json& json) {
  constexpr std::string_view kWhere = "Split pre-tokenizer";
  SPADE_ASSIGN_OR_RETURN(Pattern pattern, Pattern::FromJson(json, kWhere));
  SPADE_ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseBehavior(json, kWhere));
  SPADE_ASSIGN_OR_RETURN(const bool invert, BoolField(json, "invert", kWhere));
  return std::make_unique<PatternPreTokenizer>(std::move(pattern), SplitRule{behavior, invert});
}

PreTokenizerOr MakeByteLevel(const Json& json) {
  constexpr std::string_view kWhere = "ByteLevel pre-tokenizer";
  SPADE_ASSIGN_OR_RETURN(const bool add_prefix_space, BoolField(json, "add_prefix_space", kWhere));
  SPADE_ASSIGN_OR_RETURN(const bool use_regex,
                         BoolField(json, "use_regex", kWhere, /*fallback=*/true));
  std::optional<Pattern> pattern;
  if (use_regex) {
    SPADE_ASSIGN_OR_RETURN(pattern, Pattern::FromRegex(kByteLevelRegex));
  }
  return std::make_unique<ByteLevelPreTokenizer>(add_prefix_space, std::move(pattern));
}

PreTokenizerOr MakeDigits(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const bool individual,
                         BoolField(json, "individual_digits", "Digits pre-tokenizer"));
  return std::make_unique<CharClassPreTokenizer>(
      IsNumeric, SplitRule{individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
}

PreTokenizerOr MakePunctuation(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const SplitBehavior behavior,
                         ParseBehavior(json, "Punctuation pre-tokenizer", "Isolated"));
  return std::make_unique<CharClassPreTokenizer>(IsPunctuation, SplitRule{behavior});
}

PreTokenizerOr MakeWhitespace() {
  // \w+|[^\w\s]+ of a regex library whose \w holds the joiners too.
  SPADE_ASSIGN_OR_RETURN(Pattern pattern,
                         Pattern::FromRegex(R"([\w\x{200C}\x{200D}]+|[^\w\s\x{200C}\x{200D}]+)"));
  return std::make_unique<PatternPreTokenizer>(std::move(pattern),
                                               SplitRule{SplitBehavior::kRemoved, true});
}

PreTokenizerOr MakeBert() {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  steps.push_back(
      std::make_unique<CharClassPreTokenizer>(IsWhitespace, SplitRule{SplitBehavior::kRemoved}));
  steps.push_back(
      std::make_unique<CharClassPreTokenizer>(IsPunctuation, SplitRule{SplitBehavior::kIsolated}));
  return std::make_unique<SequencePreTokenizer>(std::move(steps));
}

PreTokenizerOr MakeDelimiter(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const char32_t delimiter,
                         CharField(json, "delimiter", "CharDelimiterSplit pre-tokenizer"));
  return std::make_unique<DelimiterPreTokenizer>(delimiter);
}

PreTokenizerOr MakeFixedLength(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const int64_t length,
                         IntField(json, "length", "FixedLength pre-tokenizer"));
  if (length < 1) return BadField("FixedLength pre-tokenizer", "'length' must be positive");
  return std::make_unique<FixedLengthPreTokenizer>(static_cast<size_t>(length));
}

PreTokenizerOr MakeMetaspace(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const Metaspace metaspace, ParseMetaspace(json));
  return std::make_unique<MetaspacePreTokenizer>(metaspace);
}

}  // namespace

PreTokenizerOr MakePreTokenizer(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const std::string type, StringField(json, "type", "pre_tokenizer"));
  if (type == "Sequence") return MakeSequence(json);
  if (type == "Split") return MakeSplit(json);
  if (type == "ByteLevel") return MakeByteLevel(json);
  if (type == "Metaspace") return MakeMetaspace(json);
  if (type == "Digits") return MakeDigits(json);
  if (type == "Punctuation") return MakePunctuation(json);
  if (type == "Whitespace") return MakeWhitespace();
  if (type == "WhitespaceSplit") {
    return std::make_unique<CharClassPreTokenizer>(IsWhitespace,
                                                   SplitRule{SplitBehavior::kRemoved});
  }
  if (type == "BertPreTokenizer") return MakeBert();
  if (type == "CharDelimiterSplit") return MakeDelimiter(json);
  if (type == "FixedLength") return MakeFixedLength(json);
  return NotSupported("pre_tokenizer", StrCat("type ", type));
}

}  // namespace spade
