#include "engine/tokenizer/detokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "engine/base/utf8.h"
#include "tests/tokenizer/tokenizer_testing.h"

namespace spade {
namespace {

std::unique_ptr<Tokenizer> LoadStyle(std::string_view style) {
  auto tokenizer = Tokenizer::Parse(ReadFile(TokenizerPath(style)));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// All deltas in a row; fails where one is not whole characters.
std::string Stream(Detokenizer& detokenizer, const std::vector<TokenId>& ids) {
  std::string text;
  for (const TokenId id : ids) {
    const std::string delta = detokenizer.Append(id);
    EXPECT_EQ(FindInvalidUtf8(delta), std::nullopt);
    text += delta;
  }
  const std::string rest = detokenizer.Flush();
  EXPECT_EQ(FindInvalidUtf8(rest), std::nullopt);
  return text + rest;
}

std::string StreamAll(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, bool skip) {
  Detokenizer detokenizer(&tokenizer, /*context=*/{}, skip);
  return Stream(detokenizer, ids);
}

// Mostly the low ids, where special, byte and single-character pieces are.
std::vector<TokenId> RandomIds(std::mt19937& rng, int32_t vocab_size) {
  std::vector<TokenId> ids(rng() % 40);
  for (TokenId& id : ids) id = static_cast<TokenId>(rng() % (rng() % 2 ? 300 : vocab_size + 3));
  return ids;
}

class StreamTest : public testing::TestWithParam<std::string> {};

TEST_P(StreamTest, DeltasOfRandomIdsMakeTheDecodedText) {
  const auto tokenizer = LoadStyle(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 rng(7);
  for (int i = 0; i < 2000; ++i) {
    const std::vector<TokenId> ids = RandomIds(rng, tokenizer->vocab_size());
    const bool skip = i % 2 == 0;
    ASSERT_EQ(StreamAll(*tokenizer, ids, skip), tokenizer->Decode(ids, skip));
  }
}

TEST_P(StreamTest, DeltasOfRealTextMakeTheDecodedText) {
  const auto tokenizer = LoadStyle(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  for (const GoldenCase& golden : ReadGoldens(GetParam())) {
    ASSERT_EQ(StreamAll(*tokenizer, golden.ids, false), golden.decoded);
    ASSERT_EQ(StreamAll(*tokenizer, golden.ids, true), golden.skipped);
  }
}

TEST_P(StreamTest, ContextDecidesTheJoinAndMakesNoText) {
  const auto tokenizer = LoadStyle(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  const std::vector<TokenId> context = *tokenizer->Encode("the world", false);
  const std::vector<TokenId> ids = *tokenizer->Encode("world is", false);
  std::vector<TokenId> all = context;
  all.insert(all.end(), ids.begin(), ids.end());
  Detokenizer detokenizer(tokenizer.get(), context, false);
  EXPECT_EQ(tokenizer->Decode(context, false) + Stream(detokenizer, ids),
            tokenizer->Decode(all, false));
}

INSTANTIATE_TEST_SUITE_P(Styles, StreamTest,
                         testing::Values("llama3", "qwen2", "roberta", "llama2", "gemma", "mistral",
                                         "metaspace_first", "tickets-5m"),
                         [](const auto& info) { return TestName(info.param); });

TEST(DetokenizerTest, ByteLevelHoldsACharacterUntilItIsWhole) {
  const auto tokenizer = LoadStyle("tickets-5m");
  Detokenizer detokenizer(tokenizer.get(), {}, false);
  // The pieces of the three bytes of U+4F60.
  EXPECT_EQ(detokenizer.Append(*tokenizer->IdOf("ä")), "");
  EXPECT_EQ(detokenizer.Append(*tokenizer->IdOf("½")), "");
  EXPECT_EQ(detokenizer.Append(*tokenizer->IdOf("ł")), "\u4F60");
}

TEST(DetokenizerTest, ByteFallbackRunIsTextOnceItEnds) {
  const auto tokenizer = LoadStyle("llama2");
  Detokenizer detokenizer(tokenizer.get(), *tokenizer->Encode("the", false), false);
  EXPECT_EQ(detokenizer.Append(*tokenizer->IdOf("<0xC3>")), "");
  EXPECT_EQ(detokenizer.Append(*tokenizer->IdOf("<0xA9>")), "");
  EXPECT_EQ(detokenizer.Append(*tokenizer->IdOf("t")), "ét");
}

TEST(DetokenizerTest, FinishedCharacterInAByteRunOfTheContextIsNotRepeated) {
  const auto tokenizer = LoadStyle("llama2");
  const std::vector<TokenId> context = {*tokenizer->IdOf("<0xC3>"), *tokenizer->IdOf("<0xA9>")};
  Detokenizer detokenizer(tokenizer.get(), context, false);
  EXPECT_EQ(detokenizer.Append(*tokenizer->IdOf("t")), "t");
}

TEST(DetokenizerTest, BrokenByteRunIsOneReplacementCharacterAByte) {
  const auto tokenizer = LoadStyle("llama2");
  const std::vector<TokenId> ids = {*tokenizer->IdOf("<0xC3>"), *tokenizer->IdOf("<0xA9>"),
                                    *tokenizer->IdOf("<0xFF>"), *tokenizer->IdOf("<0x41>")};
  EXPECT_EQ(StreamAll(*tokenizer, ids, false), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(tokenizer->Decode(ids, false), "\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(DetokenizerTest, LongByteRunIsNotHeldToItsEnd) {
  const auto tokenizer = LoadStyle("llama2");
  Detokenizer detokenizer(tokenizer.get(), {}, false);
  std::string text;
  for (int i = 0; i < 500; ++i) {
    text += detokenizer.Append(*tokenizer->IdOf("<0xC3>"));
    text += detokenizer.Append(*tokenizer->IdOf("<0xA9>"));
    ASSERT_GE(text.size() + 64, 2u * (i + 1));
  }
}

class BrokenStreamTest : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BrokenStreamTest, EndlessIncompleteBytesAreEmittedAtConstantCost) {
  const auto tokenizer = LoadStyle(GetParam().first);
  const TokenId lead = *tokenizer->IdOf(GetParam().second);
  Detokenizer detokenizer(tokenizer.get(), {}, false);
  constexpr int kTokens = 300'000;
  const auto start = std::chrono::steady_clock::now();
  size_t size = 0;
  for (int i = 0; i < kTokens; ++i) size += detokenizer.Append(lead).size();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_GE(size, 3u * (kTokens - 3));
  EXPECT_LT(seconds.count(), 3.0);
}

INSTANTIATE_TEST_SUITE_P(Styles, BrokenStreamTest,
                         testing::Values(std::pair("tickets-5m", "ð"),
                                         std::pair("llama2", "<0xF0>")));

}  // namespace
}  // namespace spade
