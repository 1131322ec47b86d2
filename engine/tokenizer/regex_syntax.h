#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace spade {

// Rewrites a pattern in Oniguruma's syntax, which tokenizer.json uses, to one that means the same
// to PCRE2 (UTF, UCP, MULTILINE): \s and \w by Unicode property, \h as a hex digit, (?m) as dot
// matches newline, {n,m}+ as a repeated interval, long names of general categories.
// UNIMPLEMENTED for what has no equivalent here (class intersections, absent operators, ...).
// Syntax errors pass through for the compiler to find.
absl::StatusOr<std::string> TranslateOniguruma(std::string_view pattern);

}  // namespace spade
