#include "engine/tokenizer/normalizer.h"

#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"
#include "engine/tokenizer/byte_level.h"
#include "engine/tokenizer/pattern.h"
#include "engine/tokenizer/unicode.h"

namespace spade {
namespace {

using NormalizerOr = absl::StatusOr<std::unique_ptr<Normalizer>>;

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<Normalizer>> steps)
      : steps_(std::move(steps)) {}

  absl::StatusOr<std::string> Apply(std::string text, MatchScratch& scratch) const override {
    for (const auto& step : steps_) {
      SPADE_ASSIGN_OR_RETURN(text, step->Apply(std::move(text), scratch));
    }
    return text;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

class UnicodeNormalizer final : public Normalizer {
 public:
  explicit UnicodeNormalizer(NormalForm form) : form_(form) {}
  absl::StatusOr<std::string> Apply(std::string text, MatchScratch&) const override {
    return NormalizeUnicode(text, form_);
  }

 private:
  NormalForm form_;
};

std::string MapChars(std::string_view text, absl::FunctionRef<void(char32_t, std::string&)> map) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = FirstChar(text);
    map(c.code_point, result);
    text.remove_prefix(c.length);
  }
  return result;
}

class LowercaseNormalizer final : public Normalizer {
 public:
  absl::StatusOr<std::string> Apply(std::string text, MatchScratch&) const override {
    return MapChars(text, AppendLowercase);
  }
};

class StripAccentsNormalizer final : public Normalizer {
 public:
  absl::StatusOr<std::string> Apply(std::string text, MatchScratch&) const override {
    return MapChars(text, [](char32_t c, std::string& result) {
      if (!IsMark(c)) AppendUtf8(c, result);
    });
  }
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  absl::StatusOr<std::string> Apply(std::string text, MatchScratch&) const override {
    std::string result;
    AppendByteLevel(text, result);
    return result;
  }
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  absl::StatusOr<std::string> Apply(std::string text, MatchScratch&) const override {
    return text.empty() ? text : StrCat(prefix_, text);
  }

 private:
  std::string prefix_;
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  absl::StatusOr<std::string> Apply(std::string text, MatchScratch&) const override {
    std::string_view rest = text;
    while (left_ && !rest.empty() && IsWhitespace(FirstChar(rest).code_point)) {
      rest.remove_prefix(FirstChar(rest).length);
    }
    while (right_ && !rest.empty() && IsWhitespace(LastChar(rest).code_point)) {
      rest.remove_suffix(LastChar(rest).length);
    }
    return std::string(rest);
  }

 private:
  bool left_;
  bool right_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  absl::StatusOr<std::string> Apply(std::string text, MatchScratch& scratch) const override {
    std::string result;
    size_t copied = 0;
    SPADE_RETURN_IF_ERROR(pattern_.ForEachMatch(text, scratch, [&](Regex::Match match) {
      result.append(text, copied, match.begin - copied);
      result += content_;
      copied = match.end;
    }));
    result.append(text, copied);
    return result;
  }

 private:
  Pattern pattern_;
  std::string content_;
};

NormalizerOr MakeSequence(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const Json* parts, ArrayField(json, "normalizers", "Sequence normalizer"));
  std::vector<std::unique_ptr<Normalizer>> steps;
  for (const Json& part : *parts) {
    SPADE_ASSIGN_OR_RETURN(steps.emplace_back(), MakeNormalizer(part));
  }
  return std::make_unique<SequenceNormalizer>(std::move(steps));
}

NormalizerOr MakeReplace(const Json& json) {
  constexpr std::string_view kWhere = "Replace normalizer";
  SPADE_ASSIGN_OR_RETURN(Pattern pattern, Pattern::FromJson(json, kWhere));
  SPADE_ASSIGN_OR_RETURN(std::string content, StringField(json, "content", kWhere));
  return std::make_unique<ReplaceNormalizer>(std::move(pattern), std::move(content));
}

NormalizerOr MakeStrip(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const bool left, BoolField(json, "strip_left", "Strip normalizer"));
  SPADE_ASSIGN_OR_RETURN(const bool right, BoolField(json, "strip_right", "Strip normalizer"));
  return std::make_unique<StripNormalizer>(left, right);
}

NormalizerOr MakePrepend(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(std::string prefix, StringField(json, "prepend", "Prepend normalizer"));
  return std::make_unique<PrependNormalizer>(std::move(prefix));
}

}  // namespace

NormalizerOr MakeNormalizer(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const std::string type, StringField(json, "type", "normalizer"));
  if (type == "Sequence") return MakeSequence(json);
  if (type == "NFC") return std::make_unique<UnicodeNormalizer>(NormalForm::kNfc);
  if (type == "NFD") return std::make_unique<UnicodeNormalizer>(NormalForm::kNfd);
  if (type == "NFKC") return std::make_unique<UnicodeNormalizer>(NormalForm::kNfkc);
  if (type == "NFKD") return std::make_unique<UnicodeNormalizer>(NormalForm::kNfkd);
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "StripAccents") return std::make_unique<StripAccentsNormalizer>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Prepend") return MakePrepend(json);
  if (type == "Strip") return MakeStrip(json);
  if (type == "Replace") return MakeReplace(json);
  return NotSupported("normalizer", StrCat("type ", type));
}

}  // namespace spade
