#include "engine/tokenizer/byte_level.h"

#include <array>

#include "engine/base/utf8.h"

namespace spade {
namespace {

constexpr int kNumBytes = 256;
constexpr int kNoByte = -1;

constexpr bool IsPrintable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<std::array<char, 2>, kNumBytes> chars = {};
  std::array<int, kNumBytes> lengths = {};
  std::array<int, 2 * kNumBytes> byte_of = {};  // by code point
};

// Printable Latin-1 bytes stand for themselves; the others follow from U+0100 on, in order.
constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (int& byte : alphabet.byte_of) byte = kNoByte;
  int next = kNumBytes;
  for (int byte = 0; byte < kNumBytes; ++byte) {
    const int code_point = IsPrintable(byte) ? byte : next++;
    alphabet.byte_of[code_point] = byte;
    if (code_point < 0x80) {
      alphabet.chars[byte] = {static_cast<char>(code_point), 0};
      alphabet.lengths[byte] = 1;
    } else {
      alphabet.chars[byte] = {static_cast<char>(0xC0 | code_point >> 6),
                              static_cast<char>(0x80 | (code_point & 0x3F))};
      alphabet.lengths[byte] = 2;
    }
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

std::string_view ByteLevelChar(unsigned char byte) {
  return {kAlphabet.chars[byte].data(), static_cast<size_t>(kAlphabet.lengths[byte])};
}

void AppendByteLevel(std::string_view bytes, std::string& text) {
  for (const char byte : bytes) text += ByteLevelChar(static_cast<unsigned char>(byte));
}

std::optional<std::string> ByteLevelBytes(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Utf8Char c = FirstChar(text);
    if (c.code_point >= kAlphabet.byte_of.size()) return std::nullopt;
    const int byte = kAlphabet.byte_of[c.code_point];
    if (byte == kNoByte) return std::nullopt;
    bytes += static_cast<char>(byte);
    text.remove_prefix(c.length);
  }
  return bytes;
}

}  // namespace spade
