#include "engine/sampling/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "engine/sampling/vocab_scan.h"
#include "tests/sampling/sampler_case.h"

namespace spade {
namespace {

using testing::Case;
using testing::RandomLogits;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Pearson's statistic of `draws` draws against the reference; rare tokens are pooled. The seed is
// fixed: a failure is a bug, never chance.
void ExpectDistribution(const Case& test, int32_t draws = 20000) {
  const auto expected = test.Expected();
  std::map<TokenId, int32_t> counts;
  for (int32_t position = 0; position < draws; ++position) {
    const TokenId id = test.Draw(position).id;
    ASSERT_TRUE(expected.count(id)) << "token " << id << " has no probability";
    ++counts[id];
  }
  double statistic = 0;
  double cells = 0;
  double rare_expected = 0;
  double rare_count = 0;
  for (const auto& [id, probability] : expected) {
    const double mean = probability * draws;
    if (mean < 5) {
      rare_expected += mean;
      rare_count += counts[id];
      continue;
    }
    statistic += (counts[id] - mean) * (counts[id] - mean) / mean;
    ++cells;
  }
  if (rare_expected > 5) {
    statistic += (rare_count - rare_expected) * (rare_count - rare_expected) / rare_expected;
    ++cells;
  }
  // Mean and deviation of chi-square with cells - 1 degrees of freedom; four deviations.
  const double freedom = std::max(cells - 1, 1.0);
  EXPECT_LT(statistic, freedom + 4 * std::sqrt(2 * freedom) + 4);
}

// ---- Greedy

TEST(GreedyTest, TakesTheHighestLogit) {
  Case test{.logits = {1, 5, 3}};
  test.params.temperature = 0;
  EXPECT_EQ(test.Draw().id, 1);
}

TEST(GreedyTest, TiesGoToTheLowestId) {
  Case test{.logits = {1, 5, 5}};
  test.params.temperature = 0;
  EXPECT_EQ(test.Draw().id, 1);
}

TEST(GreedyTest, NeverTakesNan) {
  Case test{.logits = {kNan, -5, kNan}};
  test.params.temperature = 0;
  EXPECT_EQ(test.Draw().id, 1);
}

TEST(GreedyTest, IsIndependentOfTheSeed) {
  Case test{.logits = RandomLogits(100, 1)};
  test.params.temperature = 0;
  const TokenId id = test.Draw().id;
  for (test.params.seed = 0; test.params.seed < 50; ++test.params.seed) {
    EXPECT_EQ(test.Draw().id, id);
  }
}

TEST(GreedyTest, SeesBiasAndPenalties) {
  Case test{.logits = {1, 5, 4}};
  test.params.temperature = 0;
  test.params.presence_penalty = 2;
  test.output = {1};
  EXPECT_EQ(test.Draw().id, 2);
  test.params.logit_bias = {{0, 10.0f}};
  EXPECT_EQ(test.Draw().id, 0);
}

// ---- Determinism

TEST(DrawTest, TheSameArgumentsGiveTheSameToken) {
  const Case test{.logits = RandomLogits(1000, 1)};
  for (int32_t position = 0; position < 100; ++position) {
    EXPECT_EQ(test.Draw(position).id, test.Draw(position).id);
  }
}

TEST(DrawTest, UsedScratchChangesNothing) {
  const Case test{.logits = RandomLogits(1000, 1)};
  Case other{.logits = RandomLogits(3000, 2)};
  other.params.top_p = 0.5f;
  other.params.logit_bias = {{1, 1.0f}};
  SamplerScratch scratch;
  const TokenHistory history({});
  for (int32_t position = 0; position < 50; ++position) {
    Sample(other.logits, other.params, history, {}, 0, position, scratch);
    EXPECT_EQ(Sample(test.logits, test.params, history, {}, 0, position, scratch).id,
              test.Draw(position).id);
  }
}

// Draws that share no noise agree on about one of 50 equal tokens in 50.
template <typename Other>
void ExpectUnrelated(const Other& other) {
  const Case test{.logits = std::vector<float>(50, 0.0f)};
  int32_t equal = 0;
  for (int32_t position = 0; position < 1000; ++position) {
    equal += test.Draw(position).id == other(test, position);
  }
  EXPECT_LT(equal, 50);
}

TEST(DrawTest, TheSeedChangesTheNoise) {
  ExpectUnrelated([](Case test, int32_t position) {
    test.params.seed = 1;
    return test.Draw(position).id;
  });
}

TEST(DrawTest, TheUpperHalfOfTheSeedChangesTheNoise) {
  ExpectUnrelated([](Case test, int32_t position) {
    test.params.seed = uint64_t{1} << 32;
    return test.Draw(position).id;
  });
}

TEST(DrawTest, TheSequenceIndexChangesTheNoise) {
  ExpectUnrelated(
      [](const Case& test, int32_t position) { return test.Draw(position, /*index=*/1).id; });
}

TEST(DrawTest, ThePositionChangesTheNoise) {
  ExpectUnrelated([](const Case& test, int32_t position) { return test.Draw(position + 1).id; });
}

// ---- Distributions

TEST(DistributionTest, OfPlainLogits) { ExpectDistribution({.logits = RandomLogits(50, 3)}); }

TEST(DistributionTest, OfALargeVocabulary) {
  ExpectDistribution({.logits = RandomLogits(3001, 4, 3.0f)}, /*draws=*/10000);
}

TEST(DistributionTest, OverSeedsIsTheSameAsOverPositions) {
  Case test{.logits = {0, 0}};
  int32_t ones = 0;
  for (test.params.seed = 0; test.params.seed < 10000; ++test.params.seed) ones += test.Draw().id;
  EXPECT_NEAR(ones, 5000, 200);
}

class TemperatureTest : public ::testing::TestWithParam<float> {};

TEST_P(TemperatureTest, Scales) {
  Case test{.logits = RandomLogits(50, 5)};
  test.params.temperature = GetParam();
  ExpectDistribution(test);
}

INSTANTIATE_TEST_SUITE_P(Values, TemperatureTest, ::testing::Values(0.1f, 0.7f, 1.5f, 100.0f));

TEST(DistributionTest, OfATinyTemperatureIsTheArgMax) {
  Case test{.logits = RandomLogits(500, 6)};
  test.params.temperature = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(test.Support(), std::set<TokenId>{ArgMax(test.logits)});
}

TEST(DistributionTest, OfTopK) {
  Case test{.logits = RandomLogits(2000, 7)};
  test.params.top_k = 10;
  ExpectDistribution(test);
}

TEST(DistributionTest, OfATopKBeyondTheGroups) {
  Case test{.logits = RandomLogits(200, 8)};
  test.params.top_k = 100;
  ExpectDistribution(test);
}

TEST(DistributionTest, OfTopP) {
  Case test{.logits = RandomLogits(2000, 9)};
  test.params.top_p = 0.6f;
  ExpectDistribution(test);
}

TEST(DistributionTest, OfMinP) {
  Case test{.logits = RandomLogits(2000, 10)};
  test.params.min_p = 0.05f;
  ExpectDistribution(test);
}

TEST(DistributionTest, OfAllCutsAtOnce) {
  Case test{.logits = RandomLogits(2000, 11)};
  test.params.temperature = 1.3f;
  test.params.top_k = 60;
  test.params.top_p = 0.9f;
  test.params.min_p = 0.02f;
  ExpectDistribution(test);
}

TEST(DistributionTest, OfPenaltiesAndBias) {
  Case test{.logits = RandomLogits(40, 12)};
  test.params.repetition_penalty = 1.3f;
  test.params.presence_penalty = 0.5f;
  test.params.frequency_penalty = 0.3f;
  test.params.logit_bias = {{3, 2.0f}, {4, -2.0f}, {3, 1.0f}};
  test.prompt = {1, 2, 3};
  test.output = {2, 5, 5, 5};
  ExpectDistribution(test);
}

// What can be drawn agrees with the reference over random parameters: no draw outside it.
TEST(DistributionTest, SupportAgreesWithTheReferenceOverRandomParameters) {
  std::mt19937 random(13);
  std::uniform_real_distribution<float> unit(0.01f, 1.0f);
  for (int round = 0; round < 300; ++round) {
    Case test{.logits = RandomLogits(1 + random() % 700, random())};
    for (float& logit : test.logits) logit = std::round(logit * 4) / 4;  // many ties
    test.params.temperature = 2 * unit(random);
    test.params.top_k = static_cast<int32_t>(random() % 50);
    if (random() % 2) test.params.top_p = unit(random);
    if (random() % 2) test.params.min_p = unit(random) * unit(random);
    const auto expected = test.Expected();
    for (int32_t position = 0; position < 50; ++position) {
      ASSERT_TRUE(expected.count(test.Draw(position).id)) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace spade
