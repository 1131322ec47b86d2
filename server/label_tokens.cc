#include "server/label_tokens.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/runtime/validate.h"
#include "server/field_check.h"

namespace spade {
namespace {

// Labels are tokenized after this much of a long prompt's end, not after all of it.
constexpr size_t kTailBytes = 512;
// Bound of the work where the tail does not tokenize as it does within the prompt.
constexpr size_t kMaxTokenizedBytes = 16u << 20;

std::string LabelField(size_t index) { return absl::StrCat("labels[", index, "]"); }

bool StartsWith(const std::vector<TokenId>& ids, const std::vector<TokenId>& prefix) {
  return ids.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), ids.begin());
}

bool EndsWith(const std::vector<TokenId>& ids, const std::vector<TokenId>& suffix) {
  return ids.size() >= suffix.size() && std::equal(suffix.rbegin(), suffix.rend(), ids.rbegin());
}

// What stands before the labels when they are tokenized.
struct Stem {
  std::string text;
  std::vector<TokenId> ids;
  bool add_special_tokens = false;
};

// The prompt's end, from a space on, if its tokens are the prompt's last ones.
absl::StatusOr<Stem> TailStem(const Tokenizer& tokenizer, const LabelledPrompt& prompt) {
  const size_t start = prompt.text->find(' ', prompt.text->size() - kTailBytes);
  if (start == std::string::npos) return absl::NotFoundError("no place to cut");
  Stem tail{prompt.text->substr(start), {}, false};
  SPADE_ASSIGN_OR_RETURN(tail.ids, tokenizer.Encode(tail.text, false));
  if (!EndsWith(*prompt.ids, tail.ids)) return absl::NotFoundError("tokenized differently");
  return tail;
}

absl::StatusOr<Stem> MakeStem(const Tokenizer& tokenizer, size_t num_labels,
                              const LabelledPrompt& prompt) {
  if (prompt.text == nullptr) return Stem{};
  if (prompt.text->size() > kTailBytes) {
    if (auto tail = TailStem(tokenizer, prompt); tail.ok()) return tail;
  }
  if (prompt.text->size() > kMaxTokenizedBytes / num_labels) {
    return FieldError("labels", "too many for a prompt of this length; send token_ids instead");
  }
  return Stem{*prompt.text, *prompt.ids, prompt.add_special_tokens};
}

absl::StatusOr<std::vector<TokenId>> LabelOf(const Tokenizer& tokenizer, const std::string& field,
                                             const std::string& label, const Stem& stem) {
  if (label.empty()) return FieldError(field, "must not be empty");
  if (label.size() > kMaxLabelBytes) {
    return FieldError(field, absl::StrCat("at most ", kMaxLabelBytes, " bytes"));
  }
  const auto ids = tokenizer.Encode(stem.text + label, stem.add_special_tokens);
  if (!ids.ok()) return FieldError(field, std::string(ids.status().message()));
  if (!StartsWith(*ids, stem.ids)) {
    return FieldError(field, absl::StrCat("\"", label,
                                          "\" joins the prompt's last token; move "
                                          "the space between them into the label"));
  }
  const auto end = ids->begin() + static_cast<std::ptrdiff_t>(stem.ids.size());
  if (end == ids->end()) return FieldError(field, "adds no token to the prompt");
  return std::vector<TokenId>(end, ids->end());
}

}  // namespace

absl::StatusOr<std::vector<std::vector<TokenId>>> LabelTokens(
    const Tokenizer& tokenizer, const std::vector<std::string>& labels,
    const LabelledPrompt& prompt) {
  if (labels.size() < 2) return FieldError("labels", "at least 2 are needed");
  SPADE_RETURN_IF_ERROR(CheckCount("labels", labels.size(), kMaxLabels));
  SPADE_ASSIGN_OR_RETURN(const Stem stem, MakeStem(tokenizer, labels.size(), prompt));
  std::vector<std::vector<TokenId>> tokens;
  std::map<std::vector<TokenId>, size_t> seen;
  for (size_t i = 0; i < labels.size(); ++i) {
    SPADE_ASSIGN_OR_RETURN(std::vector<TokenId> label,
                           LabelOf(tokenizer, LabelField(i), labels[i], stem));
    const auto [first, is_new] = seen.emplace(label, i);
    if (!is_new) {
      return FieldError(LabelField(i), absl::StrCat("the same tokens as labels[", first->second,
                                                    "]; labels must differ"));
    }
    tokens.push_back(std::move(label));
  }
  return tokens;
}

}  // namespace spade
