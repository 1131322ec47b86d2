#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace spade {

// Character classes as the Unicode standard names them; code points must be scalar values.
bool IsWhitespace(char32_t c);   // White_Space
bool IsNumeric(char32_t c);      // general category N
bool IsPunctuation(char32_t c);  // general category P, or ASCII punctuation
bool IsMark(char32_t c);         // general category M
bool IsWordChar(char32_t c);     // what \w matches: letters, marks, decimal digits, connectors

// Full lower-case mapping without context (U+0130 becomes two characters).
void AppendLowercase(char32_t c, std::string& text);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// `text` must be valid UTF-8. RESOURCE_EXHAUSTED where it is too long to normalize in memory.
absl::StatusOr<std::string> NormalizeUnicode(std::string_view text, NormalForm form);

}  // namespace spade
