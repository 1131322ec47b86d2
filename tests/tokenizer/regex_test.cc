#include "engine/tokenizer/regex.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace spade {
namespace {

std::vector<std::string> Matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  std::vector<std::string> matches;
  if (!regex.ok()) return matches;
  MatchScratch scratch(text.size());
  const absl::Status status = regex->ForEachMatch(text, scratch, [&](Regex::Match match) {
    matches.emplace_back(text.substr(match.begin, match.end - match.begin));
  });
  EXPECT_TRUE(status.ok()) << status;
  return matches;
}

absl::StatusCode CompileCode(std::string_view pattern) {
  return Regex::Compile(pattern).status().code();
}

using Strings = std::vector<std::string>;

TEST(RegexTest, SpaceIsUnicodeWhiteSpace) {
  EXPECT_EQ(Matches(R"(\s+)", "a\u00A0\u2003b\u180Ec"), Strings{"\u00A0\u2003"});
  EXPECT_EQ(Matches(R"([^\S\n]+)", "a \n\tb"), (Strings{" ", "\t"}));
}

TEST(RegexTest, WordTakesMarksAndConnectors) {
  EXPECT_EQ(Matches(R"(\w+)", "नमस्ते x_y"), (Strings{"नमस्ते", "x_y"}));
  EXPECT_EQ(Matches(R"([\w-]+)", "e\u0301-x y"), (Strings{"e\u0301-x", "y"}));
  EXPECT_EQ(Matches(R"(\bna\b)", "na n\u0303a na\u0303"), Strings{"na"});
}

TEST(RegexTest, HIsAHexDigit) { EXPECT_EQ(Matches(R"(\h+)", "xF0g 9"), (Strings{"F0", "9"})); }

TEST(RegexTest, MFlagMakesTheDotMatchNewlines) {
  EXPECT_EQ(Matches("(?m:a.b)", "a\nb"), Strings{"a\nb"});
  EXPECT_EQ(Matches("a.b", "a\nb"), Strings{});
}

TEST(RegexTest, AnchorsMatchAtLines) { EXPECT_EQ(Matches("^a$", "a\na\nb"), (Strings{"a", "a"})); }

TEST(RegexTest, PlusAfterAnIntervalRepeatsIt) {
  EXPECT_EQ(Matches(R"(\p{N}{1,3}+)", "12345 6"), (Strings{"12345", "6"}));
  EXPECT_EQ(Matches(R"((?:ab){2}+)", "abababab"), Strings{"abababab"});
  EXPECT_EQ(Matches(R"([0-9]{,2}x)", "123x"), Strings{"23x"});
}

TEST(RegexTest, PossessiveQuantifiersStayPossessive) {
  EXPECT_EQ(Matches("a++a", "aaa"), Strings{});
  EXPECT_EQ(Matches(R"([^\r\n\p{L}\p{N}]?+\p{L}+)", " ab!c"), (Strings{" ab", "!c"}));
}

TEST(RegexTest, LongPropertyNamesAreKnown) {
  EXPECT_EQ(Matches(R"(\p{Letter}+|\p{^L}+)", "ab12"), (Strings{"ab", "12"}));
}

TEST(RegexTest, CaseFoldingReachesBeyondAscii) {
  EXPECT_EQ(Matches("(?i:'s)", "'S '\u017F"), (Strings{"'S", "'\u017F"}));
}

TEST(RegexTest, SetsInsideSetsAreUnions) { EXPECT_EQ(Matches("[a[bc]]+", "abcd"), Strings{"abc"}); }

TEST(RegexTest, EmptyMatchRightAfterAMatchIsLeftOut) {
  EXPECT_EQ(Matches("b*", "abba"), (Strings{"", "bb", ""}));
}

TEST(RegexTest, MatchesAreFoundFarFromTheStart) {
  const std::string text = std::string(5000, 'x') + "é" + std::string(5000, 'x') + "z";
  EXPECT_EQ(Matches("é|z", text), (Strings{"é", "z"}));
}

TEST(RegexTest, SyntaxErrorsAreRefused) {
  EXPECT_EQ(CompileCode("(a"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CompileCode("a)"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CompileCode(R"(\p{Nonsense})"), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(CompileCode("[a"), absl::StatusCode::kOk);
  EXPECT_NE(CompileCode("\\"), absl::StatusCode::kOk);
  EXPECT_NE(CompileCode(R"(\p{L)"), absl::StatusCode::kOk);
  EXPECT_NE(CompileCode("(?"), absl::StatusCode::kOk);
  EXPECT_NE(CompileCode("(?#"), absl::StatusCode::kInternal);
}

TEST(RegexTest, SyntaxWithoutEquivalentIsUnimplemented) {
  for (const char* pattern : {"[a&&b]", "[a[^b]]", "(?~a)", R"(\y)", R"([\W])"}) {
    EXPECT_EQ(CompileCode(pattern), absl::StatusCode::kUnimplemented) << pattern;
  }
}

}  // namespace
}  // namespace spade
