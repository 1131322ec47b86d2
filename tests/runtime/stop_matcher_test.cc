#include "engine/runtime/stop_matcher.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace spade {
namespace {

struct Outcome {
  std::string text;
  std::optional<int> match;
};

Outcome Feed(const std::vector<std::string>& stops, const std::vector<std::string>& pieces,
             bool include = false) {
  StopMatcher matcher(&stops, include);
  Outcome outcome;
  for (const std::string& piece : pieces) {
    StopMatcher::Output output = matcher.Push(piece, /*armed=*/true);
    outcome.text += output.text;
    outcome.match = output.match;
    if (output.match) return outcome;
  }
  outcome.text += matcher.Flush();
  return outcome;
}

std::vector<std::string> Letters(const std::string& text) {
  std::vector<std::string> letters;
  for (const char c : text) letters.push_back(std::string(1, c));
  return letters;
}

TEST(StopMatcherTest, CutsBeforeTheStop) {
  const Outcome outcome = Feed({"END"}, {"hello END more"});
  EXPECT_EQ(outcome.text, "hello ");
  EXPECT_EQ(outcome.match, 0);
}

TEST(StopMatcherTest, FindsAStopAcrossPieces) {
  const Outcome outcome = Feed({"END"}, {"hello E", "N", "D more"});
  EXPECT_EQ(outcome.text, "hello ");
  EXPECT_EQ(outcome.match, 0);
}

TEST(StopMatcherTest, KeepsTheStopWhenAsked) {
  EXPECT_EQ(Feed({"END"}, {"hello E", "ND more"}, /*include=*/true).text, "hello END");
}

TEST(StopMatcherTest, ReleasesAPrefixThatCameToNothing) {
  const std::vector<std::string> stops = {"END"};
  StopMatcher matcher(&stops, false);
  EXPECT_EQ(matcher.Push("say EN", true).text, "say ");
  EXPECT_EQ(matcher.Push("OUGH", true).text, "ENOUGH");
}

TEST(StopMatcherTest, FindsAnOverlappingBegin) {
  const Outcome outcome = Feed({"aab"}, Letters("xaaab!"));
  EXPECT_EQ(outcome.text, "xa");
  EXPECT_EQ(outcome.match, 0);
}

TEST(StopMatcherTest, TheStopThatEndsFirstWins) {
  const Outcome outcome = Feed({"later", "now"}, {"a now and later"});
  EXPECT_EQ(outcome.text, "a ");
  EXPECT_EQ(outcome.match, 1);
}

TEST(StopMatcherTest, OfStopsThatEndTogetherTheLongestWins) {
  const Outcome outcome = Feed({"c", "abc"}, {"xabc"});
  EXPECT_EQ(outcome.text, "x");
  EXPECT_EQ(outcome.match, 1);
}

TEST(StopMatcherTest, PiecesDoNotMatter) {
  const std::vector<std::string> stops = {"abab", "bb", "caca"};
  uint32_t state = 1;
  for (int round = 0; round < 300; ++round) {
    std::string text;
    std::vector<std::string> pieces(1);
    for (int i = 0; i < 12; ++i) {
      state = state * 1664525u + 1013904223u;
      text += static_cast<char>('a' + (state >> 20) % 3);
      if ((state >> 28) % 3 == 0) pieces.emplace_back();
      pieces.back() += text.back();
    }
    const Outcome whole = Feed(stops, {text});
    const Outcome cut = Feed(stops, pieces);
    EXPECT_EQ(whole.text, cut.text) << text;
    EXPECT_EQ(whole.match, cut.match) << text;
  }
}

TEST(StopMatcherTest, UnarmedStopsAreText) {
  const std::vector<std::string> stops = {"END"};
  StopMatcher matcher(&stops, false);
  EXPECT_EQ(matcher.Push("an END ", /*armed=*/false).text, "an END ");
  EXPECT_FALSE(matcher.Push("on", /*armed=*/true).match);
}

TEST(StopMatcherTest, AStopMayBeginUnarmed) {
  const std::vector<std::string> stops = {"END"};
  StopMatcher matcher(&stops, false);
  EXPECT_EQ(matcher.Push("an EN", /*armed=*/false).text, "an ");
  EXPECT_TRUE(matcher.Push("D", /*armed=*/true).match);
}

}  // namespace
}  // namespace spade
