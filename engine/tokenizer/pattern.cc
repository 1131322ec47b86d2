#include "engine/tokenizer/pattern.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace spade {

absl::StatusOr<Pattern> Pattern::FromRegex(std::string_view regex) {
  Pattern pattern;
  SPADE_ASSIGN_OR_RETURN(pattern.regex_, Regex::Compile(regex));
  return pattern;
}

absl::StatusOr<Pattern> Pattern::FromJson(const Json& component, std::string_view where) {
  const Json* json = FindField(component, "pattern");
  if (json == nullptr) return BadField(where, "'pattern' is missing");
  if (FindField(*json, "Regex") != nullptr) {
    SPADE_ASSIGN_OR_RETURN(const std::string regex, StringField(*json, "Regex", where));
    absl::StatusOr<Pattern> pattern = FromRegex(regex);
    if (pattern.ok()) return pattern;
    return absl::Status(pattern.status().code(),
                        StrCat("tokenizer.json: ", where, ": ", pattern.status().message()));
  }
  Pattern pattern;
  SPADE_ASSIGN_OR_RETURN(pattern.literal_, StringField(*json, "String", where));
  if (pattern.literal_.empty()) return NotSupported(where, "an empty 'pattern'");
  return pattern;
}

absl::Status Pattern::ForEachMatch(std::string_view text, MatchScratch& scratch,
                                   absl::FunctionRef<void(Regex::Match)> visit) const {
  if (regex_.has_value()) return regex_->ForEachMatch(text, scratch, visit);
  size_t begin = text.find(literal_);
  while (begin != std::string_view::npos) {
    visit({begin, begin + literal_.size()});
    begin = text.find(literal_, begin + literal_.size());
  }
  return absl::OkStatus();
}

}  // namespace spade
