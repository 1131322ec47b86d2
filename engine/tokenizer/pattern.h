#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tokenizer/json_fields.h"
#include "engine/tokenizer/regex.h"

namespace spade {

// The `pattern` of a Split or Replace: {"String": ...} or {"Regex": ...}. Immutable.
class Pattern {
 public:
  // `where` names the component in errors.
  static absl::StatusOr<Pattern> FromJson(const Json& component, std::string_view where);
  static absl::StatusOr<Pattern> FromRegex(std::string_view regex);

  // As Regex::ForEachMatch.
  absl::Status ForEachMatch(std::string_view text, MatchScratch& scratch,
                            absl::FunctionRef<void(Regex::Match)> visit) const;

  // The text to find, where this is no regular expression.
  const std::string* literal() const { return regex_.has_value() ? nullptr : &literal_; }

 private:
  Pattern() = default;

  std::string literal_;
  std::optional<Regex> regex_;
};

}  // namespace spade
