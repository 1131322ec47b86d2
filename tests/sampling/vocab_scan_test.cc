#include "engine/sampling/vocab_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace spade {
namespace {

using ::testing::ElementsAre;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

std::vector<float> RandomLogits(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TEST(ArgMaxTest, FindsTheHighestAtEveryPlace) {
  for (size_t size : {1, 15, 16, 17, 63, 64, 65, 200}) {
    for (size_t place = 0; place < size; ++place) {
      std::vector<float> logits(size, -1.0f);
      logits[place] = 1.0f;
      ASSERT_EQ(ArgMax(logits), static_cast<TokenId>(place)) << size;
    }
  }
}

TEST(ArgMaxTest, TiesGoToTheLowestId) {
  std::vector<float> logits(300, 0.0f);
  logits[70] = logits[75] = logits[250] = 3.0f;
  EXPECT_EQ(ArgMax(logits), 70);
}

TEST(ArgMaxTest, SkipsNan) {
  std::vector<float> logits(100, kNan);
  logits[42] = -5.0f;
  EXPECT_EQ(ArgMax(logits), 42);
}

TEST(ArgMaxTest, InfinityTiesWithTheLargestFloat) {
  std::vector<float> logits(200, 0.0f);
  logits[3] = kLargest;
  logits[100] = kInf;
  EXPECT_EQ(ArgMax(logits), 3);
}

TEST(ArgMaxTest, FindsNothingAmongWhatCannotBeDrawn) {
  EXPECT_EQ(ArgMax(std::vector<float>{kNan, -kInf, kNan}), -1);
}

TEST(GroupMaximaTest, HasTheMaximumOfEachGroup) {
  std::vector<float> logits(2 * kScanGroup + 3, 0.0f);
  logits[5] = 1;
  logits[kScanGroup + 63] = 2;
  logits[2 * kScanGroup + 2] = 3;
  std::vector<float> maxima;
  EXPECT_EQ(GroupMaxima(logits, maxima), 3);
  EXPECT_THAT(maxima, ElementsAre(1, 2, 3));
}

TEST(LowerBoundOfTopTest, IsReachedByAtLeastThatMany) {
  const std::vector<float> logits = RandomLogits(5000, 1);
  std::vector<float> maxima, scratch;
  GroupMaxima(logits, maxima);
  for (int32_t count : {1, 2, 40, 79}) {
    const float bound = LowerBoundOfTop(maxima, count, scratch);
    EXPECT_GT(bound, kNoLogit);
    EXPECT_GE(std::count_if(logits.begin(), logits.end(), [&](float l) { return l >= bound; }),
              count);
  }
}

TEST(LowerBoundOfTopTest, KnowsNothingBeyondTheNumberOfGroups) {
  std::vector<float> scratch;
  EXPECT_EQ(LowerBoundOfTop(std::vector<float>{1, 2}, 3, scratch), kNoLogit);
}

TEST(GatherAtLeastTest, ListsIdsInOrder) {
  const std::vector<float> logits = {3, 1, kNan, 2, -kInf, 5};
  std::vector<float> maxima;
  std::vector<TokenId> ids;
  GroupMaxima(logits, maxima);
  GatherAtLeast(logits, maxima, 2.0f, ids);
  EXPECT_THAT(ids, ElementsAre(0, 3, 5));
}

TEST(GatherAtLeastTest, WithoutBoundListsAllThatCanBeDrawn) {
  const std::vector<float> logits = {3, 1, kNan, kInf, -kInf};
  std::vector<float> maxima;
  std::vector<TokenId> ids;
  GroupMaxima(logits, maxima);
  GatherAtLeast(logits, maxima, kNoLogit, ids);
  EXPECT_THAT(ids, ElementsAre(0, 1, 3));
}

TEST(ExpInPlaceTest, IsExactAtZero) {
  std::vector<float> values = {0.0f, -0.0f};
  ExpInPlace(values);
  EXPECT_THAT(values, ElementsAre(1.0f, 1.0f));
}

TEST(ExpInPlaceTest, IsCloseToTheLibrarys) {
  for (float x = 0; x > -87; x -= 0.00137f) {
    std::vector<float> value = {x};
    ExpInPlace(value);
    const double expected = std::exp(static_cast<double>(x));
    ASSERT_NEAR(value[0] / expected, 1.0, 3e-7) << x;
  }
}

TEST(ExpInPlaceTest, IsZeroForWhatCannotBeDrawn) {
  std::vector<float> values = {-kInf, kNan, -88.0f};
  ExpInPlace(values);
  EXPECT_THAT(values, ElementsAre(0.0f, 0.0f, 0.0f));
}

TEST(LogSumExpTest, AgreesWithDoublePrecision) {
  const std::vector<float> logits = RandomLogits(150001, 2);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  EXPECT_NEAR(LogSumExp(logits, logits[static_cast<size_t>(ArgMax(logits))]), std::log(sum), 1e-6);
}

TEST(LogSumExpTest, LeavesOutWhatCannotBeDrawn) {
  EXPECT_NEAR(LogSumExp(std::vector<float>{1, kNan, -kInf, 1}, 1), 1 + std::log(2.0), 1e-6);
}

TEST(LogSumExpTest, DoesNotOverflow) {
  EXPECT_EQ(LogSumExp(std::vector<float>{kInf, 0, -kLargest}, kLargest),
            static_cast<double>(kLargest));
}

}  // namespace
}  // namespace spade
