#include "engine/tokenizer/bpe_model.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace spade {
namespace {

using Ids = std::vector<int32_t>;

std::unique_ptr<BpeModel> Load(const std::string& json) {
  auto model = BpeModel::FromJson(*ParseJson(json));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

Ids Tokens(const BpeModel& model, std::string_view text) {
  Ids ids;
  const absl::Status status = model.Tokenize(text, ids);
  EXPECT_TRUE(status.ok()) << status;
  return ids;
}

TEST(BpeModelTest, LowestRankMergesFirstAndLeftmostOfEquals) {
  const auto model =
      Load(R"({"vocab":{"a":0,"b":1,"c":2,"ab":3,"bc":4,"aa":5},"merges":["b c","a b","a a"]})");
  EXPECT_EQ(Tokens(*model, "abc"), (Ids{0, 4}));
  EXPECT_EQ(Tokens(*model, "aaa"), (Ids{5, 0}));
}

TEST(BpeModelTest, LongWordsMergeAsShortOnes) {
  const auto model =
      Load(R"({"vocab":{"a":0,"b":1,"ab":2,"abab":3,"ba":4},"merges":["a b","ab ab","b a"]})");
  std::string text;
  for (int i = 0; i < 31; ++i) text += "ab";
  Ids expected(15, 3);
  expected.push_back(2);
  EXPECT_EQ(Tokens(*model, text), expected);
  EXPECT_EQ(Tokens(*model, std::string("b").append(text, 0, 8)), (Ids{1, 3, 3}));
}

TEST(BpeModelTest, IgnoreMergesTakesWholePiecesOfTheVocabulary) {
  const std::string parts = R"("vocab":{"a":0,"b":1,"ab":2},"merges":[])";
  EXPECT_EQ(Tokens(*Load("{" + parts + "}"), "ab"), (Ids{0, 1}));
  EXPECT_EQ(Tokens(*Load(R"({"ignore_merges":true,)" + parts + "}"), "ab"), Ids{2});
}

TEST(BpeModelTest, UnknownCharactersFuseOnlyWhereAsked) {
  const std::string parts = R"("unk_token":"?","vocab":{"?":0,"a":1},"merges":[])";
  EXPECT_EQ(Tokens(*Load("{" + parts + "}"), "xya"), (Ids{0, 0, 1}));
  EXPECT_EQ(Tokens(*Load(R"({"fuse_unk":true,)" + parts + "}"), "xya"), (Ids{0, 1}));
}

TEST(BpeModelTest, UnknownCharactersVanishWithoutUnknownToken) {
  EXPECT_EQ(Tokens(*Load(R"({"vocab":{"a":1},"merges":[]})"), "xax"), Ids{1});
}

TEST(BpeModelTest, ByteFallbackNeedsEveryByte) {
  const auto model = Load(
      R"({"byte_fallback":true,"unk_token":"?","vocab":{"?":0,"<0xC3>":1,"<0xA9>":2},"merges":[]})");
  EXPECT_EQ(Tokens(*model, "é"), (Ids{1, 2}));
  EXPECT_EQ(Tokens(*model, "è"), Ids{0});
}

TEST(BpeModelTest, PrefixAndSuffixMarkTheSymbols) {
  const auto model =
      Load(R"({"continuing_subword_prefix":"##","end_of_word_suffix":"</w>",)"
           R"("vocab":{"a":0,"##b</w>":1,"ab</w>":2,"##b":3,"a</w>":4},"merges":["a ##b</w>"]})");
  EXPECT_EQ(Tokens(*model, "ab"), Ids{2});
  EXPECT_EQ(Tokens(*model, "a"), Ids{4});
  EXPECT_EQ(Tokens(*model, "abb"), (Ids{0, 3, 1}));
}

TEST(BpeModelTest, MergesMayBePairs) {
  EXPECT_EQ(Tokens(*Load(R"({"vocab":{"a ":0,"b":1,"a b":2,"a":3," ":4},)"
                         R"("merges":[["a"," "],["a ","b"]]})"),
                   "a b"),
            Ids{2});
}

TEST(BpeModelTest, IdsMayBeInTheMillions) {
  const auto model = Load(R"({"vocab":{"a":5000000},"merges":[]})");
  EXPECT_EQ(Tokens(*model, "a"), Ids{5000000});
  EXPECT_EQ(model->id_bound(), 5000001);
  EXPECT_EQ(model->Piece(4999999), std::nullopt);
}

}  // namespace
}  // namespace spade
