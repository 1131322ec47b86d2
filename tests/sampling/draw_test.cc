// Draws and scores of every device: the same definition on the host and where the logits are.
#include <cmath>
#include <limits>
#include <set>

#include "tests/sampling/draw_fixture.h"

namespace spade::testing {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<TokenId> IdsOf(const std::vector<SampledToken>& tokens) {
  std::vector<TokenId> ids;
  for (const SampledToken& token : tokens) ids.push_back(token.id);
  return ids;
}

SamplingParams Params(float temperature, int32_t top_k = 0, float top_p = 1, float min_p = 0) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.min_p = min_p;
  return params;
}
SamplingParams Greedy() { return Params(0); }

void ExpectSame(const SampledToken& actual, const SampledToken& expected) {
  EXPECT_EQ(actual.id, expected.id);
  EXPECT_EQ(actual.rank, expected.rank);
  EXPECT_TRUE(actual.logprob == expected.logprob ||
              std::fabs(actual.logprob - expected.logprob) < 2e-6);
  ASSERT_EQ(actual.top.size(), expected.top.size());
  for (size_t i = 0; i < actual.top.size(); ++i) {
    EXPECT_EQ(actual.top[i].id, expected.top[i].id);
    EXPECT_NEAR(actual.top[i].logprob, expected.top[i].logprob, 2e-6);
  }
}

// Numbers of tokens: one thread's, a list's and more, with and without rows of whole vectors.
constexpr size_t kSizes[] = {1, 2, 7, 100, 512, 513, 1000, 5003, 12000};

// ---- Greedy

TEST_P(DrawTest, GreedyTakesTheHighestLogit) {
  for (const size_t size : kSizes) {
    const Case test{.logits = RandomLogits(size, 1), .params = Greedy()};
    const auto best = std::ranges::max_element(test.logits) - test.logits.begin();
    EXPECT_EQ(Draw(test).id, best) << size;
  }
}

TEST_P(DrawTest, GreedyTiesGoToTheLowestId) {
  EXPECT_EQ(Draw({.logits = {1, 5, 5}, .params = Greedy()}).id, 1);
  EXPECT_EQ(Draw({.logits = {-1, 0.0f, -0.0f}, .params = Greedy()}).id, 1);
  EXPECT_EQ(Draw({.logits = {-1, -0.0f, 0.0f}, .params = Greedy()}).id, 1);
  EXPECT_EQ(Draw({.logits = std::vector<float>(3000, 2.5f), .params = Greedy()}).id, 0);
}

TEST_P(DrawTest, GreedyOrdersAllFloats) {
  EXPECT_EQ(Draw({.logits = {-3, -2, -7}, .params = Greedy()}).id, 1);
  EXPECT_EQ(Draw({.logits = {-1e-40f, 1e-40f, -5}, .params = Greedy()}).id, 1);
  EXPECT_EQ(Draw({.logits = {kNan, -5, kNan}, .params = Greedy()}).id, 1);
  EXPECT_EQ(Draw({.logits = {-kInf, -1e38f, kNan}, .params = Greedy()}).id, 1);
  // The largest float counts as much as infinity.
  EXPECT_EQ(Draw({.logits = {3, std::numeric_limits<float>::max(), kInf}, .params = Greedy()}).id,
            1);
}

TEST_P(DrawTest, WhereNothingIsLeftTheHighestLogitIs) {
  for (const float temperature : {0.0f, 1.0f}) {
    Case test{.logits = {1, 5, 3}, .banned = {}};
    test.logits.resize(16, -kInf);
    test.banned = {0, 1, 2};
    test.params.temperature = temperature;
    EXPECT_EQ(Draw(test).id, 1);
  }
}

TEST_P(DrawTest, WhereNoLogitCanBeDrawnNoTokenIs) {
  for (const float temperature : {0.0f, 1.0f}) {
    Case test{.logits = {kNan, -kInf, kNan, 7}};
    test.params.temperature = temperature;
    test.params.allowed_token_ids = {0, 1};
    EXPECT_EQ(Draw(test).id, kNoTokenId);
    test.params.num_logprobs = 2;
    EXPECT_EQ(Draw(test).id, kNoTokenId);
    test.logits.back() = kNan;
    test.params.allowed_token_ids.clear();
    EXPECT_EQ(Draw(test).id, kNoTokenId);
  }
}

// ---- Draws

// Every draw is of a token that the reference draws; and unless the rounding of sums decides,
// it is the host's.
TEST_P(DrawTest, GivesTheTokensOfTheHost) {
  int64_t draws = 0;
  int64_t others = 0;
  uint32_t seed = 1;
  for (const size_t size : {1u, 100u, 512u, 513u, 4003u}) {
    for (const SamplingParams& params :
         {Params(1), Params(0.3f), Params(1, 1), Params(1, 20), Params(1, 600), Params(1, 0, 0.9f),
          Params(3, 0, 0.95f), Params(1, 0, 1e-20f), Params(1, 0, 1, 0.05f), Params(50, 0, 1, 0.9f),
          Params(0.7f, 50, 0.8f, 0.02f), Params(9, 900, 0.7f, 0.5f)}) {
      Case test{.logits = RandomLogits(size, ++seed, 3.0f), .params = params};
      test.params.seed = seed;
      const std::vector<SampledToken> tokens = DrawAt(test, 20);
      const auto expected = test.Expected();
      for (int32_t i = 0; i < 20; ++i) {
        const TokenId token = tokens[static_cast<size_t>(i)].id;
        ++draws;
        others += token != test.Draw(i).id ? 1 : 0;
        EXPECT_TRUE(expected.contains(token)) << size << " tokens, case " << seed;
      }
    }
  }
  EXPECT_LE(others, draws / 1000) << "of " << draws;
}

// Powers of two of equal tokens: every sum is exact, and so is what is drawn.
TEST_P(DrawTest, EqualTokensAreDrawnByTheUniformNumberAlone) {
  for (const size_t size : {1u, 64u, 512u, 4096u}) {
    const Case test{.logits = std::vector<float>(size, 1.5f)};
    const std::vector<SampledToken> tokens = DrawAt(test, 60);
    for (int32_t i = 0; i < 60; ++i) {
      EXPECT_EQ(tokens[static_cast<size_t>(i)].id, test.Draw(i).id);
    }
  }
}

TEST_P(DrawTest, TiesAtACutGoToTheLowestIds) {
  for (const SamplingParams& params : {Params(1, 3), Params(1, 0, 3.0f / 2048), Params(1, 700)}) {
    const Case test{.logits = std::vector<float>(2048, -4.0f), .params = params};
    std::set<TokenId> drawn;
    for (const TokenId id : IdsOf(DrawAt(test, 300))) drawn.insert(id);
    const TokenId kept = params.top_k > 0 ? params.top_k : 3;
    EXPECT_LT(*drawn.rbegin(), kept);
    if (kept == 3) {
      EXPECT_EQ(drawn, (std::set<TokenId>{0, 1, 2}));
    } else {
      EXPECT_GT(*drawn.rbegin(), kept / 2);
    }
  }
}

TEST_P(DrawTest, WhatCannotBeDrawnNeverIs) {
  std::vector<float> logits(1500, kNan);
  for (size_t i = 0; i < logits.size(); i += 2) logits[i] = -kInf;
  logits[701] = -30;
  logits[1402] = -31;
  for (const float top_p : {1.0f, 0.9999f}) {
    Case test{.logits = logits};
    test.params.top_p = top_p;
    for (const TokenId id : IdsOf(DrawAt(test, 50))) EXPECT_TRUE(id == 701 || id == 1402);
  }
}

// Hundreds of the best tokens are a few threads' own: the threads' best tell little of the cut.
TEST_P(DrawTest, TheBestTokensMayBeAnyThreads) {
  Case test{.logits = RandomLogits(40000, 3), .params = Params(1, 12)};
  for (size_t i = 0; i < test.logits.size(); ++i) {
    if (i / 4 % 512 < 10) test.logits[i] += 20;
  }
  const auto expected = test.Expected();
  for (const TokenId id : IdsOf(DrawAt(test, 40))) EXPECT_TRUE(expected.contains(id));
  SamplerScratch scratch;
  ExpectSame(ScoreOf(test.logits, 77, 20), Score(test.logits, 77, 20, scratch));
}

// Two rows of a reading, and a reading of one.
TEST_P(DrawTest, ADrawHangsOnItsRowAlone) {
  Case test{.logits = RandomLogits(3001, 5)};
  test.params.top_p = 0.9f;
  const std::vector<SampledToken> together = DrawAt(test, 20);
  for (int32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(Draw(test, {{i, 0}}).front().id, together[static_cast<size_t>(i)].id);
  }
}

// ---- Edits

TEST_P(DrawTest, BiasBansAndPenaltiesComeBeforeTheDraw) {
  for (const float temperature : {0.0f, 1.3f}) {
    Case test{.logits = RandomLogits(2000, 6), .prompt = {5, 900, 901}, .output = {7, 7, 1500}};
    test.params.temperature = temperature;
    test.params.top_k = 40;
    test.params.repetition_penalty = 1.7f;
    test.params.frequency_penalty = 0.5f;
    test.params.presence_penalty = -0.25f;
    for (TokenId id = 0; id < 400; ++id) test.params.logit_bias.emplace_back(id * 2, 0.01f);
    test.params.logit_bias.emplace_back(7, 4.0f);
    test.params.logit_bias.emplace_back(7, 5.0f);
    test.params.logit_bias.emplace_back(44, -100.0f);
    test.banned = {1999, 12, -3, 99999};
    const std::vector<SampledToken> tokens = DrawAt(test, 60);
    for (int32_t i = 0; i < 60; ++i) {
      EXPECT_EQ(tokens[static_cast<size_t>(i)].id, test.Draw(i).id);
    }
  }
}

TEST_P(DrawTest, EditsLeaveTheLogitsAsTheyWere) {
  if (OnHost()) GTEST_SKIP() << "the host edits a copy";
  Case test{.logits = RandomLogits(600, 6), .prompt = {5, 90}, .banned = {5, 6}};
  test.params.repetition_penalty = 1.7f;
  test.params.logit_bias = {{5, 0.3f}, {5, 0.6f}, {8, 1e-3f}};
  Draw(test);
  EXPECT_EQ(logits_after(), test.logits);
}

TEST_P(DrawTest, OnlyAllowedTokensAreDrawn) {
  for (const float temperature : {0.0f, 1.0f}) {
    Case test{.logits = RandomLogits(3000, 13)};
    test.params.temperature = temperature;
    test.params.top_p = 0.9f;
    test.params.num_logprobs = 2;
    test.params.allowed_token_ids = {2999, 3, 17, 3, 500, 1200, 4};
    test.params.logit_bias = {{4, 3.0f}, {5, 90.0f}};
    test.banned = {17};
    const std::vector<SampledToken> tokens = DrawAt(test, 30);
    for (int32_t i = 0; i < 30; ++i) ExpectSame(tokens[static_cast<size_t>(i)], test.Draw(i));
  }
}

TEST_P(DrawTest, WhereNoAllowedTokenIsLeftTheHighestOfThemIs) {
  Case test{.logits = RandomLogits(100, 14), .banned = {40, 7, 90}};
  test.params.allowed_token_ids = {90, 40, 7};
  test.logits[7] = 5;
  EXPECT_EQ(Draw(test).id, 7);
  for (const TokenId id : {7, 40, 90}) test.logits[static_cast<size_t>(id)] = kNan;
  EXPECT_EQ(Draw(test).id, kNoTokenId);
}

// ---- Scores

TEST_P(DrawTest, ScoresAreTheDoubleReferences) {
  for (const size_t size : kSizes) {
    const std::vector<float> logits = RandomLogits(size, 8);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit});
    for (const size_t token : {size_t{0}, size / 2, size - 1}) {
      const SampledToken scored = ScoreOf(logits, static_cast<TokenId>(token), 20);
      EXPECT_NEAR(scored.logprob, double{logits[token]} - std::log(sum), 2e-6);
      const auto higher =
          std::ranges::count_if(logits, [&](float other) { return other > logits[token]; });
      EXPECT_EQ(scored.rank, higher + 1);
      EXPECT_EQ(scored.top.size(), std::min<size_t>(size, 20));
      EXPECT_EQ(scored.top[0].id, std::ranges::max_element(logits) - logits.begin());
    }
  }
}

TEST_P(DrawTest, ScoresOfOddRowsAreTheHosts) {
  SamplerScratch scratch;
  std::vector<std::vector<float>> rows = {
      {kNan, -kInf, kNan}, {kInf, 1, kNan, 2}, {-kInf, 3, -kInf}, std::vector<float>(1000, 0.5f)};
  rows.push_back(RandomLogits(1030, 9));
  for (size_t i = 0; i < 500; ++i) rows.back()[2 * i] = 7;
  for (const std::vector<float>& row : rows) {
    for (const TokenId token : {0, 1, 2}) {
      for (const int32_t count : {0, 1, 20}) {
        ExpectSame(ScoreOf(row, token, count), Score(row, token, count, scratch));
      }
    }
  }
}

// Bias moves the draw, not the score.
TEST_P(DrawTest, ScoresAreOfTheModelsOwnLogits) {
  Case test{.logits = RandomLogits(800, 10)};
  test.params.logit_bias = {{3, 100.0f}, {4, -50.0f}};
  test.params.num_logprobs = 5;
  const SampledToken drawn = Draw(test);
  EXPECT_EQ(drawn.id, 3);
  ExpectSame(drawn, ScoreOf(test.logits, 3, 5));
}

// ---- Entropies

using EntropyTest = DrawTest;

TEST_P(EntropyTest, IsThatOfTheSoftmaxOverAllColumns) {
  if (OnHost()) GTEST_SKIP() << "the host has no LogitReader";
  for (const int64_t tokens : {1, 30, 513, 4001}) {
    const int64_t cols = tokens + 1;
    const std::vector<float> logits = RandomLogits(static_cast<size_t>(3 * cols), 11);
    const OtherTokens other = {.bias = 2.5f, .temperature = 1.7f};
    const std::vector<LogitQuery> queries = {{.row = 2}, {.row = 0}};
    std::vector<LogitAnswer> answers(2);
    backend().logit_reader()->Read(Upload(3, cols, logits).view(),
                                   {.queries = queries, .other = other}, answers);
    for (size_t i = 0; i < 2; ++i) {
      const float* row = logits.data() + queries[i].row * cols;
      double sum = 0;
      double weighted = 0;
      for (int64_t c = 0; c < cols; ++c) {
        const double z = (row[c] + (c == tokens ? double{other.bias} : 0.0)) / other.temperature;
        sum += std::exp(z);
        weighted += std::exp(z) * z;
      }
      EXPECT_NEAR(answers[i].entropy, std::log(sum) - weighted / sum, 3e-6);
      EXPECT_EQ(answers[i].token, std::max_element(row, row + tokens) - row);
    }
  }
}

TEST_P(EntropyTest, RowsThatAreNotFiniteNeverLookSure) {
  if (OnHost()) GTEST_SKIP() << "the host has no LogitReader";
  std::vector<float> logits = RandomLogits(5 * 40, 12);
  logits[3] = kNan;
  logits[1 * 40 + 39] = kNan;  // the last column
  logits[2 * 40 + 5] = kInf;
  std::fill_n(logits.begin() + 3 * 40, 40, -kInf);
  logits[4 * 40 + 7] = -kInf;  // no probability: nothing wrong
  const std::vector<LogitQuery> queries = {
      {.row = 0}, {.row = 1}, {.row = 2}, {.row = 3}, {.row = 4}};
  std::vector<LogitAnswer> answers(5);
  backend().logit_reader()->Read(Upload(5, 40, logits).view(),
                                 {.queries = queries, .other = OtherTokens{}}, answers);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(answers[i].entropy, kInf) << i;
  EXPECT_TRUE(std::isfinite(answers[4].entropy));
}

SPADE_DEVICE_SUITE(DrawTest);
SPADE_DEVICE_SUITE(EntropyTest);

}  // namespace
}  // namespace spade::testing
