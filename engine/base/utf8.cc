#include "engine/base/utf8.h"

#include <cstdint>
#include <cstring>

namespace spade {
namespace {

uint8_t ByteAt(std::string_view bytes, size_t i) { return static_cast<uint8_t>(bytes[i]); }

bool IsContinuation(uint8_t byte) { return (byte & 0xC0) == 0x80; }

struct LeadByte {
  size_t length;  // of the character, 0 where the byte cannot start one
  uint8_t second_min;
  uint8_t second_max;
};

LeadByte ClassifyLead(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Prefix ScanUtf8(std::string_view bytes) {
  const LeadByte lead = ClassifyLead(ByteAt(bytes, 0));
  if (lead.length == 0) return {Utf8Prefix::Kind::kBroken, 1};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Utf8Prefix::Kind::kUnfinished, i};
    const uint8_t byte = ByteAt(bytes, i);
    const bool fits =
        i == 1 ? byte >= lead.second_min && byte <= lead.second_max : IsContinuation(byte);
    if (!fits) return {Utf8Prefix::Kind::kBroken, i};
  }
  return {Utf8Prefix::Kind::kCharacter, lead.length};
}

std::optional<size_t> FindInvalidUtf8(std::string_view bytes) {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  size_t i = 0;
  while (i < bytes.size()) {
    uint64_t word;
    if (i + sizeof(word) <= bytes.size()) {
      std::memcpy(&word, bytes.data() + i, sizeof(word));
      if ((word & kHighBits) == 0) {
        i += sizeof(word);
        continue;
      }
    }
    const Utf8Prefix prefix = ScanUtf8(bytes.substr(i));
    if (prefix.kind != Utf8Prefix::Kind::kCharacter) return i;
    i += prefix.length;
  }
  return std::nullopt;
}

Utf8Char FirstChar(std::string_view text) {
  const char32_t lead = ByteAt(text, 0);
  const auto tail = [&](size_t i) { return static_cast<char32_t>(ByteAt(text, i) & 0x3F); };
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | tail(1), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | tail(1) << 6 | tail(2), 3};
  return {(lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4};
}

Utf8Char LastChar(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && IsContinuation(ByteAt(text, start))) --start;
  return FirstChar(text.substr(start));
}

void AppendUtf8(char32_t code_point, std::string& text) {
  const auto tail = [&](int shift) {
    text += static_cast<char>(0x80 | (code_point >> shift & 0x3F));
  };
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    text += static_cast<char>(0xC0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    text += static_cast<char>(0xE0 | code_point >> 12);
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xF0 | code_point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace spade
