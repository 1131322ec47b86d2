#include "engine/exit/token_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/exit/token_problem.h"

namespace spade {
namespace {

constexpr int64_t kHidden = 12;
constexpr int64_t kCandidates = 6;
constexpr int32_t kRank = 3;

std::vector<float> Normals(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// A model whose remaining layers add a low-rank linear map of the hidden state.
struct Planted {
  explicit Planted(int64_t samples, uint32_t seed)
      : rows(Normals(kCandidates * kHidden, 1)),
        norm(kHidden, 1.5f),
        hidden(Normals(static_cast<size_t>(samples * kHidden), seed)) {
    const std::vector<float> narrow = Normals(kRank * kHidden, 2, 0.5f);
    const std::vector<float> widen = Normals(kHidden * kRank, 3);
    for (int64_t s = 0; s < samples; ++s) AddSample(narrow, widen, s);
  }

  void AddSample(const std::vector<float>& narrow, const std::vector<float>& widen, int64_t s) {
    std::vector<double> state(hidden.begin() + s * kHidden, hidden.begin() + (s + 1) * kHidden);
    const std::vector<double> before = state;
    for (int64_t r = 0; r < kRank; ++r) {
      double inner = 0;
      for (int64_t i = 0; i < kHidden; ++i) inner += narrow[r * kHidden + i] * before[i];
      for (int64_t i = 0; i < kHidden; ++i) state[i] += widen[i * kRank + r] * inner;
    }
    double squares = 0;
    for (const double value : state) squares += value * value;
    const double rms = std::sqrt(squares / kHidden);
    std::vector<double> weights;
    double sum = 0.5;  // the rest of the vocabulary
    for (int64_t c = 0; c < kCandidates; ++c) {
      double logit = 0;
      for (int64_t i = 0; i < kHidden; ++i) {
        logit += rows[c * kHidden + i] * state[i] / rms * norm[i];
      }
      weights.push_back(std::exp(logit));
      sum += weights.back();
    }
    for (const double weight : weights) targets.push_back(static_cast<float>(weight / sum));
    targets.push_back(static_cast<float>(0.5 / sum));
    for (const double value : state) final.push_back(static_cast<float>(value));
  }

  CandidateHead Head() const { return {rows, norm, 0}; }
  TokenExamples View() const { return {std::ssize(hidden) / kHidden, hidden, final, targets}; }

  std::vector<float> rows;
  std::vector<float> norm;
  std::vector<float> hidden;
  std::vector<float> final;
  std::vector<float> targets;
};

TEST(TokenProblemTest, GradientIsThatOfTheLoss) {
  const Planted planted(40, 9);
  const TokenProblem problem(planted.Head(), planted.View());
  const size_t count = 2 * kRank * kHidden + kHidden + 1;
  const std::vector<float> start = Normals(count, 4, 0.3f);
  std::vector<double> values(start.begin(), start.end());
  std::vector<double> gradient(count);
  std::vector<double> unused(count);
  const auto loss = [&](std::span<double> into) {
    return problem.Loss(TokenParameters::FromVector(values, kRank, kHidden), 1e-2, into);
  };
  loss(gradient);
  for (size_t i = 0; i < count; i += 5) {
    const double step = 2e-3;
    const double kept = values[i];
    values[i] = kept + step;
    const double above = loss(unused);
    values[i] = kept - step;
    const double below = loss(unused);
    values[i] = kept;
    EXPECT_NEAR((above - below) / (2 * step), gradient[i], 2e-3) << "parameter " << i;
  }
}

TEST(CandidateTargetsTest, AreTheSoftmaxOverAllTokens) {
  const Planted planted(20, 9);
  std::vector<float> log_sums;
  for (int64_t s = 0; s < 20; ++s) {
    // The planted probability of the first candidate, and its logit, give the sum.
    double squares = 0;
    double logit = 0;
    for (int64_t i = 0; i < kHidden; ++i) {
      const double value = planted.final[s * kHidden + i];
      squares += value * value;
      logit += double{planted.rows[i]} * value * planted.norm[i];
    }
    logit /= std::sqrt(squares / kHidden);
    log_sums.push_back(
        static_cast<float>(logit - std::log(planted.targets[s * (kCandidates + 1)])));
  }
  const std::vector<float> targets = CandidateTargets(planted.Head(), planted.final, log_sums);
  ASSERT_EQ(targets.size(), planted.targets.size());
  for (size_t i = 0; i < targets.size(); ++i) EXPECT_NEAR(targets[i], planted.targets[i], 1e-4);
}

TEST(TokenFitTest, FindsAPlantedMap) {
  const Planted fitting(400, 5);
  const Planted validation(200, 6);
  TokenFitOptions options;
  options.rank = kRank;
  const auto fit = FitTokenExit(4, fitting.Head(), fitting.View(), validation.View(), options);
  ASSERT_TRUE(fit.ok()) << fit.status();
  EXPECT_EQ(fit->exit.layer, 4);
  EXPECT_GT(fit->agreement, 0.98);
  EXPECT_LT(fit->kl, 0.01);
  EXPECT_NEAR(fit->exit.temperature, 1, 0.1);
}

TEST(TokenFitTest, IsDeterministic) {
  const Planted fitting(60, 5);
  TokenFitOptions options;
  options.rank = 2;
  const auto a = FitTokenExit(4, fitting.Head(), fitting.View(), fitting.View(), options);
  const auto b = FitTokenExit(4, fitting.Head(), fitting.View(), fitting.View(), options);
  EXPECT_EQ(a->exit.up, b->exit.up);
  EXPECT_EQ(a->exit.temperature, b->exit.temperature);
}

TEST(TokenFitTest, RefusesTooFewTokens) {
  const Planted one(1, 5);
  const Planted many(10, 6);
  const auto fit = FitTokenExit(4, many.Head(), one.View(), many.View(), {});
  EXPECT_EQ(fit.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TokenFitTest, RefusesValuesThatAreNotFinite) {
  Planted broken(10, 5);
  broken.hidden[3] = std::nanf("");
  const Planted good(10, 6);
  const auto fit = FitTokenExit(4, good.Head(), broken.View(), good.View(), {});
  EXPECT_EQ(fit.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TokenFitTest, ProbabilitiesAddUp) {
  const Planted planted(30, 7);
  TokenFitOptions options;
  options.rank = kRank;
  const auto fit = FitTokenExit(4, planted.Head(), planted.View(), planted.View(), options);
  const std::vector<float> probabilities =
      TokenProbabilities(fit->exit, planted.Head(), planted.hidden);
  ASSERT_EQ(std::ssize(probabilities), 30 * (kCandidates + 1));
  for (int64_t s = 0; s < 30; ++s) {
    double sum = 0;
    for (int64_t c = 0; c <= kCandidates; ++c) sum += probabilities[s * (kCandidates + 1) + c];
    EXPECT_NEAR(sum, 1, 1e-5);
  }
}

}  // namespace
}  // namespace spade
