#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <vector>

#include "engine/sampling/sampler.h"
#include "engine/sampling/vocab_scan.h"
#include "tests/sampling/sampler_case.h"

namespace spade {
namespace {

using testing::Case;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::RandomLogits;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// ---- Cuts

TEST(CutTest, TopKOneIsTheArgMax) {
  Case test{.logits = {1, 5, 5, 2}};
  test.params.top_k = 1;
  EXPECT_EQ(test.Support(), std::set<TokenId>{1});
}

TEST(CutTest, TopKTiesGoToTheLowestIds) {
  Case test{.logits = std::vector<float>(300, 1.0f)};
  test.params.top_k = 3;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 1, 2}));
}

TEST(CutTest, TopKBeyondTheVocabularyKeepsAll) {
  Case test{.logits = {1, 1, 1}};
  test.params.top_k = std::numeric_limits<int32_t>::max();
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 1, 2}));
}

TEST(CutTest, TopPKeepsTheTokenThatReachesTheShare) {
  Case test{.logits = {0, 0, 0, 0}};
  test.params.top_p = 0.51f;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 1, 2}));
}

TEST(CutTest, TopPKeepsNoMoreThanReachesTheShare) {
  Case test{.logits = {0, 0, 0, 0}};
  test.params.top_p = 0.5f;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 1}));
}

TEST(CutTest, ATinyTopPKeepsTheMostProbable) {
  Case test{.logits = {0, 1, 0}};
  test.params.top_p = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(test.Support(), std::set<TokenId>{1});
}

TEST(CutTest, TopPIsAShareOfWhatTopKLeft) {
  Case test{.logits = std::vector<float>(100, 0.0f)};
  test.params.top_k = 4;
  test.params.top_p = 0.5f;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 1}));
}

TEST(CutTest, TopPCountsWhatMinPRemovesLater) {
  // 0.5 of the total is tokens 0 and 1; of what min_p would leave, it is token 0.
  Case test{
      .logits = {std::log(0.4f), std::log(0.3f), std::log(0.1f), std::log(0.1f), std::log(0.1f)}};
  test.params.top_p = 0.5f;
  test.params.min_p = 0.5f;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 1}));
}

TEST(CutTest, MinPIsRelativeToTheMostProbable) {
  Case test{.logits = {0.0f, std::log(0.26f), std::log(0.24f)}};
  test.params.min_p = 0.25f;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 1}));
}

TEST(CutTest, MinPOneKeepsTheMostProbableAndItsTies) {
  Case test{.logits = {2, 1, 2}};
  test.params.min_p = 1;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 2}));
}

// ---- Penalties, bias, bans

TEST(PenaltyTest, RepetitionCoversThePrompt) {
  Case test{.logits = {3, 2}};
  test.params.temperature = 0;
  test.params.repetition_penalty = 2;
  test.prompt = {0};
  EXPECT_EQ(test.Draw().id, 1);
}

TEST(PenaltyTest, RepetitionLowersNegativeLogits) {
  Case test{.logits = {-2, -3}};
  test.params.temperature = 0;
  test.params.repetition_penalty = 2;
  test.output = {0};
  EXPECT_EQ(test.Draw().id, 1);
}

TEST(PenaltyTest, PresenceAndFrequencyLeaveThePromptAlone) {
  Case test{.logits = {3, 2}};
  test.params.temperature = 0;
  test.params.presence_penalty = 2;
  test.params.frequency_penalty = 2;
  test.prompt = {0};
  EXPECT_EQ(test.Draw().id, 0);
}

TEST(PenaltyTest, FrequencyGrowsWithEachOccurrence) {
  Case test{.logits = {3, 0}};
  test.params.temperature = 0;
  test.params.frequency_penalty = 1;
  test.output = {0, 0};
  EXPECT_EQ(test.Draw().id, 0);
  test.output = {0, 0, 0, 0};
  EXPECT_EQ(test.Draw().id, 1);
}

TEST(PenaltyTest, HistoryOutsideTheVocabularyHasNoEffect) {
  Case test{.logits = {3, 0}};
  test.params.temperature = 0;
  test.params.presence_penalty = 1;
  test.output = {-1, 2, std::numeric_limits<int32_t>::max()};
  EXPECT_EQ(test.Draw().id, 0);
}

TEST(AllowedTest, NothingElseIsDrawn) {
  Case test{.logits = RandomLogits(500, 14)};
  test.params.allowed_token_ids = {400, 3, 77};
  EXPECT_EQ(test.Support(), (std::set<TokenId>{3, 77, 400}));
}

TEST(BanTest, BannedTokensAreNotDrawn) {
  Case test{.logits = {5, 1, 0}};
  test.banned = {0};
  EXPECT_EQ(test.Support(), (std::set<TokenId>{1, 2}));
}

TEST(BanTest, IsNotUndoneByBias) {
  Case test{.logits = {5, 1, 0}};
  test.params.logit_bias = {{0, 100.0f}};
  test.banned = {0};
  EXPECT_EQ(test.Support(), (std::set<TokenId>{1, 2}));
}

TEST(BanTest, IdsOutsideTheVocabularyHaveNoEffect) {
  Case test{.logits = {5, 1}};
  test.params.temperature = 0;
  test.banned = {-1, 2};
  EXPECT_EQ(test.Draw().id, 0);
}

TEST(BanTest, GivesWayWhereNothingElseIsAllowed) {
  Case test{.logits = {9, 1, 2, 8}};
  test.params.allowed_token_ids = {1, 2};
  test.banned = {1, 2};
  EXPECT_EQ(test.Support(), std::set<TokenId>{2});
}

TEST(BanTest, GivesWayWhereTheWholeVocabularyIsBanned) {
  Case test{.logits = {1, 2}};
  test.params.temperature = 0;
  test.banned = {0, 1};
  EXPECT_EQ(test.Draw().id, 1);
}

// ---- Broken logits

TEST(BrokenLogitsTest, NanAndMinusInfinityAreNotDrawn) {
  Case test{.logits = {kNan, 0, -kInf, 0, kNan}};
  EXPECT_EQ(test.Support(), (std::set<TokenId>{1, 3}));
}

TEST(BrokenLogitsTest, InfinitiesShareTheDraw) {
  Case test{.logits = {kInf, 0, kInf, 1e30f}};
  test.params.top_p = 0.99f;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 2}));
}

TEST(BrokenLogitsTest, HugeFiniteLogitsDoNotOverflow) {
  Case test{.logits = {3e38f, -3e38f, 3e38f}};
  test.params.min_p = 0.1f;
  EXPECT_EQ(test.Support(), (std::set<TokenId>{0, 2}));
}

TEST(BrokenLogitsTest, WithNothingToDrawNoTokenIs) {
  Case test{.logits = {kNan, -kInf, kNan, 1}};
  test.params.allowed_token_ids = {2, 1};
  for (const float temperature : {0.0f, 1.0f}) {
    test.params.temperature = temperature;
    EXPECT_EQ(test.Draw().id, kNoTokenId);
  }
  test.params.num_logprobs = 2;
  EXPECT_EQ(test.Draw().id, kNoTokenId);
  test.params.allowed_token_ids = {2, 3, 1};
  EXPECT_EQ(test.Draw().id, 3);
  test.logits.back() = kNan;
  test.params.allowed_token_ids.clear();
  EXPECT_EQ(test.Draw().id, kNoTokenId);
}

// ---- Logprobs

TEST(LogprobTest, AreNotComputedUnlessAskedFor) {
  const SampledToken token = Case{.logits = {1, 2, 3}}.Draw();
  EXPECT_EQ(token.rank, 0);
  EXPECT_THAT(token.top, IsEmpty());
}

TEST(LogprobTest, AreOfTheModelsOwnDistribution) {
  Case test{.logits = {1, 2, 3}};
  test.params.num_logprobs = 0;
  test.params.temperature = 0.1f;
  test.params.allowed_token_ids = {1};
  test.params.logit_bias = {{1, 50.0f}};
  const SampledToken token = test.Draw();
  EXPECT_EQ(token.id, 1);
  EXPECT_EQ(token.rank, 2);
  EXPECT_NEAR(token.logprob, 2 - std::log(std::exp(1) + std::exp(2) + std::exp(3)), 1e-6);
  EXPECT_THAT(token.top, IsEmpty());
}

std::vector<TokenId> Ids(const SampledToken& token) {
  std::vector<TokenId> ids;
  for (const TokenLogprob& alternative : token.top) ids.push_back(alternative.id);
  return ids;
}

TEST(LogprobTest, AlternativesComeMostProbableFirst) {
  Case test{.logits = {1, 4, 3, 4, 2}};
  test.params.num_logprobs = 4;
  EXPECT_THAT(Ids(test.Draw()), ElementsAre(1, 3, 2, 4));
}

TEST(LogprobTest, AlternativesAreNoMoreThanCanBeDrawn) {
  Case test{.logits = {1, kNan, 3}};
  test.params.num_logprobs = 20;
  EXPECT_THAT(Ids(test.Draw()), ElementsAre(2, 0));
}

TEST(ScoreTest, RanksTiesById) {
  SamplerScratch scratch;
  const std::vector<float> logits = {2, 3, 2, 2};
  EXPECT_EQ(Score(logits, 1, 0, scratch).rank, 1);
  EXPECT_EQ(Score(logits, 0, 0, scratch).rank, 2);
  EXPECT_EQ(Score(logits, 3, 0, scratch).rank, 4);
}

TEST(ScoreTest, AgreesWithASortOfTheVocabulary) {
  const std::vector<float> logits = RandomLogits(10000, 15);
  SamplingParams everything;
  const auto expected = testing::ReferenceDistribution(logits, everything, {}, {}, {});
  SamplerScratch scratch;
  const SampledToken scored = Score(logits, 1234, 20, scratch);
  EXPECT_NEAR(scored.logprob, std::log(expected.at(1234)), 1e-5);
  ASSERT_EQ(scored.top.size(), 20u);
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(scored.top[i].logprob, std::log(expected.at(scored.top[i].id)), 1e-5);
    EXPECT_EQ(Score(logits, scored.top[i].id, 0, scratch).rank, static_cast<int32_t>(i) + 1);
  }
}

TEST(ScoreTest, ATokenThatCannotBeDrawnHasNoProbability) {
  SamplerScratch scratch;
  EXPECT_EQ(Score(std::vector<float>{1, kNan}, 1, 0, scratch).logprob, -kInf);
  EXPECT_EQ(Score(std::vector<float>{1, -kInf}, 1, 0, scratch).logprob, -kInf);
  EXPECT_EQ(Score(std::vector<float>{kNan, kNan}, 1, 5, scratch).logprob, -kInf);
}

// ---- TokenHistory

TEST(TokenHistoryTest, KnowsPromptTokensWithoutCountingThem) {
  const std::vector<TokenId> prompt = {1, 1, 2};
  const TokenHistory history(prompt);
  EXPECT_TRUE(history.Seen(1));
  EXPECT_FALSE(history.Seen(3));
  EXPECT_EQ(history.OutputCount(1), 0);
}

TEST(TokenHistoryTest, CountsOutputTokens) {
  const std::vector<TokenId> prompt = {1};
  TokenHistory history(prompt);
  history.Append(1);
  history.Append(1);
  history.Append(4);
  EXPECT_EQ(history.OutputCount(1), 2);
  EXPECT_EQ(history.OutputCount(4), 1);
  EXPECT_TRUE(history.Seen(4));
}

}  // namespace
}  // namespace spade
