#include "engine/tokenizer/unicode.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "absl/status/status.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"

namespace spade {
namespace {

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool InCategories(char32_t c, utf8proc_category_t first, utf8proc_category_t last) {
  const utf8proc_category_t category = Category(c);
  return category >= first && category <= last;
}

// Alphabetic beyond the letters and marks: letter numbers and the circled and squared letters.
bool IsOtherAlphabetic(char32_t c) {
  return Category(c) == UTF8PROC_CATEGORY_NL || (c >= 0x24B6 && c <= 0x24E9) ||
         (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

utf8proc_option_t FormOptions(NormalForm form) {
  switch (form) {
    case NormalForm::kNfc:
      return UTF8PROC_COMPOSE;
    case NormalForm::kNfd:
      return UTF8PROC_DECOMPOSE;
    case NormalForm::kNfkc:
      return static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
    case NormalForm::kNfkd:
      break;
  }
  return static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
}

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

}  // namespace

bool IsWhitespace(char32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool IsNumeric(char32_t c) { return InCategories(c, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO); }

bool IsPunctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  }
  return InCategories(c, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO);
}

bool IsMark(char32_t c) { return InCategories(c, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME); }

bool IsWordChar(char32_t c) {
  return InCategories(c, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO) || IsMark(c) ||
         Category(c) == UTF8PROC_CATEGORY_ND || Category(c) == UTF8PROC_CATEGORY_PC ||
         IsOtherAlphabetic(c) || c == 0x200C || c == 0x200D;
}

void AppendLowercase(char32_t c, std::string& text) {
  if (c == 0x130) {
    text += "i\xCC\x87";
    return;
  }
  AppendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), text);
}

absl::StatusOr<std::string> NormalizeUnicode(std::string_view text, NormalForm form) {
  if (IsAscii(text)) return std::string(text);
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | FormOptions(form)));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (size < 0) {
    return absl::ResourceExhaustedError(
        StrCat("normalizing ", text.size(), " bytes: ", utf8proc_errmsg(size)));
  }
  return std::string(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
}

}  // namespace spade
