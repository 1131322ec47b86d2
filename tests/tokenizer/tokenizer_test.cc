#include "engine/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/tokenizer/tokenizer_testing.h"

namespace spade {
namespace {

// A tokenizer.json around `parts` (members with a comma after each) and a small byte-level model.
std::string SmallJson(const std::string& parts) {
  return "{" + parts +
         R"("model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"Ġ":3},"merges":["a b"]}})";
}

std::vector<TokenId> MustEncode(const Tokenizer& tokenizer, std::string_view text,
                                bool special = false) {
  const auto ids = tokenizer.Encode(text, special);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.value_or(std::vector<TokenId>{});
}

std::unique_ptr<Tokenizer> MustParse(const std::string& json) {
  auto tokenizer = Tokenizer::Parse(json);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, EncodesAndDecodesAsTheReference) {
  const auto tokenizer = MustParse(ReadFile(TokenizerPath(GetParam())));
  ASSERT_NE(tokenizer, nullptr);
  const std::vector<GoldenCase> cases = ReadGoldens(GetParam());
  ASSERT_GE(cases.size(), 200u);
  for (const GoldenCase& golden : cases) {
    EXPECT_EQ(MustEncode(*tokenizer, golden.text), golden.ids) << golden.text;
    if (golden.special.has_value()) {
      EXPECT_EQ(MustEncode(*tokenizer, golden.text, /*special=*/true), *golden.special);
    }
    EXPECT_EQ(tokenizer->Decode(golden.ids, /*skip_special_tokens=*/false), golden.decoded);
    EXPECT_EQ(tokenizer->Decode(golden.ids, /*skip_special_tokens=*/true), golden.skipped);
  }
}

INSTANTIATE_TEST_SUITE_P(Styles, GoldenTest, testing::ValuesIn(GoldenStyles()),
                         [](const auto& info) { return TestName(info.param); });

struct Vectors {
  const char* cases;
  const char* tokenizer;
};

class VectorTest : public testing::TestWithParam<Vectors> {};

TEST_P(VectorTest, EncodesThePublishedVectors) {
  const std::string folder = SharedTokenizers();
  const std::string json = ReadFile(folder + GetParam().tokenizer + ".tokenizer.json");
  if (json.empty()) GTEST_SKIP() << "no " << GetParam().tokenizer << " tokenizer in " << folder;
  const auto tokenizer = MustParse(json);
  ASSERT_NE(tokenizer, nullptr);
  const std::vector<VectorCase> cases = ReadVectors(folder + GetParam().cases);
  ASSERT_EQ(cases.size(), 47u);
  for (const VectorCase& vector : cases) {
    EXPECT_EQ(MustEncode(*tokenizer, vector.text), vector.ids) << vector.text;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, VectorTest,
                         testing::Values(Vectors{"gpt-2", "gpt2"}, Vectors{"llama-spm", "llama2"}),
                         [](const auto& info) { return std::string(info.param.tokenizer); });

TEST(TokenizerTest, InvalidUtf8IsRefusedWithItsOffset) {
  const auto tokenizer = MustParse(SmallJson(""));
  const auto ids = tokenizer->Encode("ab\xE4\xBD", false);
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(ids.status().ToString().find("byte 2"), std::string::npos) << ids.status();
}

TEST(TokenizerTest, EmptyTextHasNoIds) {
  EXPECT_TRUE(MustEncode(*MustParse(SmallJson("")), "").empty());
}

TEST(TokenizerTest, IdsOutsideTheVocabularyDecodeToNothing) {
  const auto tokenizer = MustParse(SmallJson(R"("decoder":{"type":"Fuse"},)"));
  EXPECT_EQ(tokenizer->Decode({-1, 0, 4, 2147483647, 2}, false), "aab");
}

TEST(TokenizerTest, PiecesAndIdsMapBothWays) {
  const auto tokenizer =
      MustParse(SmallJson(R"("added_tokens":[{"id":4,"content":"<s>","special":true}],)"));
  EXPECT_EQ(tokenizer->vocab_size(), 5);
  EXPECT_EQ(tokenizer->IdOf("<s>"), 4);
  EXPECT_EQ(tokenizer->Piece(4), "<s>");
  EXPECT_EQ(tokenizer->Piece(2), "ab");
  EXPECT_EQ(tokenizer->Piece(5), std::nullopt);
  EXPECT_EQ(tokenizer->Piece(-1), std::nullopt);
  EXPECT_TRUE(tokenizer->IsSpecial(4));
  EXPECT_FALSE(tokenizer->IsSpecial(2));
}

TEST(TokenizerTest, ShaIsOfTheFile) {
  const std::string json = SmallJson("");
  EXPECT_EQ(MustParse(json)->sha256().size(), 64u);
  EXPECT_NE(MustParse(json)->sha256(), MustParse(json + " ")->sha256());
}

TEST(TokenizerTest, LongWordWithoutSpacesIsFast) {
  const auto tokenizer = MustParse(ReadFile(TokenizerPath("tickets-5m")));
  const std::string text(1 << 20, 'a');
  const auto start = std::chrono::steady_clock::now();
  const std::vector<TokenId> ids = MustEncode(*tokenizer, text);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(tokenizer->Decode(ids, false), text);
  EXPECT_LT(seconds.count(), 5.0);  // a quadratic merge takes many minutes
}

TEST(TokenizerTest, PatternThatBacktracksForeverEndsInAStatus) {
  const auto tokenizer = MustParse(SmallJson(
      R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a+)+c"},"behavior":"Isolated",)"
      R"("invert":false},)"));
  const auto ids = tokenizer->Encode(std::string(5000, 'a') + "bc", false);
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kResourceExhausted) << ids.status();
}

TEST(TokenizerTest, PatternThatIsQuadraticInTheTextEndsInAStatus) {
  const auto tokenizer = MustParse(SmallJson(
      R"x("pre_tokenizer":{"type":"Split","pattern":{"Regex":"a(?=.*x)"},"behavior":"Isolated",)x"
      R"("invert":false},)"));
  const auto ids = tokenizer->Encode(std::string(1 << 18, 'a'), false);
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kResourceExhausted) << ids.status();
}

TEST(TokenizerTest, MissingUnknownTokenIsAnErrorOnlyWhereItIsNeeded) {
  const auto tokenizer =
      MustParse(R"({"model":{"type":"BPE","unk_token":"<unk>","vocab":{"a":0},"merges":[]}})");
  EXPECT_EQ(MustEncode(*tokenizer, "a"), std::vector<TokenId>{0});
  EXPECT_EQ(tokenizer->Encode("b", false).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace spade
