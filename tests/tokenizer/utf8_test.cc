#include "engine/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace spade {
namespace {

using Kind = Utf8Prefix::Kind;

TEST(Utf8Test, EveryScalarValueRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    AppendUtf8(c, text);
    ASSERT_EQ(FirstChar(text).code_point, c);
    ASSERT_EQ(FirstChar(text).length, text.size());
    ASSERT_EQ(LastChar("x" + text).code_point, c);
    ASSERT_EQ(FindInvalidUtf8(text), std::nullopt);
  }
}

TEST(Utf8Test, BrokenSequencesAreMaximalSubparts) {
  const auto expect = [](std::string_view bytes, Kind kind, size_t length) {
    EXPECT_EQ(ScanUtf8(bytes).kind, kind);
    EXPECT_EQ(ScanUtf8(bytes).length, length);
  };
  expect("\x80", Kind::kBroken, 1);              // a continuation byte alone
  expect("\xC0\x80", Kind::kBroken, 1);          // overlong
  expect("\xE0\x80\x80", Kind::kBroken, 1);      // overlong
  expect("\xED\xA0\x80", Kind::kBroken, 1);      // surrogate
  expect("\xF4\x90\x80\x80", Kind::kBroken, 1);  // over U+10FFFF
  expect("\xF5", Kind::kBroken, 1);
  expect(
      "\xE4\xBD"
      "a",
      Kind::kBroken, 2);
  expect(
      "\xF0\x9F\x98"
      "a",
      Kind::kBroken, 3);
  expect("\xE4\xBD", Kind::kUnfinished, 2);
  expect("\xF0", Kind::kUnfinished, 1);
  expect("\xF0\x9F\x98\x80", Kind::kCharacter, 4);
}

TEST(Utf8Test, InvalidByteIsFoundAtItsOffset) {
  EXPECT_EQ(FindInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FindInvalidUtf8("a long run of plain text, then \xFF"), 31u);
  EXPECT_EQ(FindInvalidUtf8("\u00E9\xC3"), 2u);
}

}  // namespace
}  // namespace spade
