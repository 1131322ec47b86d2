#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace spade {

// The byte-level alphabet: every byte has a printable character of its own (one or two bytes of
// UTF-8), so that any byte string is a valid text of such characters.
std::string_view ByteLevelChar(unsigned char byte);

// `bytes` written in the alphabet, appended to `text`.
void AppendByteLevel(std::string_view bytes, std::string& text);

// The bytes that `text` stands for, or nullopt where a character is not in the alphabet.
std::optional<std::string> ByteLevelBytes(std::string_view text);

}  // namespace spade
