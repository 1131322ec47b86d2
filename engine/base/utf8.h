#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace spade {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// What the front of a byte string is.
struct Utf8Prefix {
  enum class Kind {
    kCharacter,   // `length` bytes encode one scalar value
    kBroken,      // `length` bytes are a maximal subpart that no byte can complete
    kUnfinished,  // the string ends, `length` bytes in, inside a character that is good so far
  };
  Kind kind;
  size_t length;
};

// `bytes` must not be empty. Overlong forms, surrogates and values over U+10FFFF are broken.
Utf8Prefix ScanUtf8(std::string_view bytes);

// Offset of the first byte that is no part of a character, or nullopt where all is valid UTF-8.
std::optional<size_t> FindInvalidUtf8(std::string_view bytes);

struct Utf8Char {
  char32_t code_point;
  size_t length;  // bytes
};

// The first character of `text`, which must be valid UTF-8 and not empty.
Utf8Char FirstChar(std::string_view text);
// The last character, on the same terms.
Utf8Char LastChar(std::string_view text);

// `code_point` must be a scalar value.
void AppendUtf8(char32_t code_point, std::string& text);

}  // namespace spade
