#include "engine/exit/fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "engine/exit/lbfgs.h"
#include "engine/exit/linear_solve.h"

namespace spade {
namespace {

struct Examples {
  std::vector<float> hidden;
  std::vector<float> logits;
  HeadExamples View(int64_t hidden_size, int64_t labels) const {
    return {static_cast<int64_t>(hidden.size()) / hidden_size, hidden_size, labels, hidden, logits};
  }
};

constexpr int64_t kHidden = 24;
constexpr int64_t kLabels = 5;

// Logits that are a fixed linear map of the RMS-normalised hidden state, plus noise.
Examples Planted(int samples, double noise, uint64_t seed) {
  std::mt19937_64 map_rng(1);
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::vector<double> map(static_cast<size_t>(kHidden * kLabels));
  for (double& value : map) value = normal(map_rng);
  Examples examples;
  for (int s = 0; s < samples; ++s) {
    std::vector<double> h(static_cast<size_t>(kHidden));
    double squares = 0;
    const double size = std::exp(normal(rng));  // the head must not depend on it
    for (double& value : h) {
      value = normal(rng) + 0.5;
      squares += value * value;
    }
    const double rms = std::sqrt(squares / kHidden);
    for (const double value : h) examples.hidden.push_back(static_cast<float>(value * size));
    for (int64_t k = 0; k < kLabels; ++k) {
      double logit = 0.3 * static_cast<double>(k) + noise * normal(rng) + 7;
      for (int64_t j = 0; j < kHidden; ++j) {
        logit += map[static_cast<size_t>(k * kHidden + j)] * h[static_cast<size_t>(j)] / rms;
      }
      examples.logits.push_back(static_cast<float>(logit));
    }
  }
  return examples;
}

TEST(Cholesky, SolvesASystem) {
  const Cholesky factor({4, 0, 0, 2, 5, 0, 1, 3, 6}, 3);  // [4 2 1; 2 5 3; 1 3 6]
  std::vector<double> x = {4 * 1 + 2 * 2 + 1 * 3, 2 * 1 + 5 * 2 + 3 * 3, 1 + 3 * 2 + 6 * 3};
  factor.Solve(x);
  EXPECT_NEAR(x[0], 1, 1e-12);
  EXPECT_NEAR(x[1], 2, 1e-12);
  EXPECT_NEAR(x[2], 3, 1e-12);
}

TEST(Lbfgs, MinimisesARosenbrockValley) {
  const auto rosenbrock = [](std::span<const double> x, std::span<double> gradient) {
    const double a = 1 - x[0];
    const double b = x[1] - x[0] * x[0];
    gradient[0] = -2 * a - 400 * x[0] * b;
    gradient[1] = 200 * b;
    return a * a + 100 * b * b;
  };
  const auto best = MinimizeLbfgs(rosenbrock, [](auto) { return true; }, {-1.2, 1}, {});
  EXPECT_NEAR(best[0], 1, 1e-5);
  EXPECT_NEAR(best[1], 1, 1e-5);
}

TEST(FitExitHead, RecoversAPlantedHead) {
  const Examples fitting = Planted(600, 0, 2);
  const Examples validation = Planted(200, 0, 3);
  const auto fit = FitExitHead(7, fitting.View(kHidden, kLabels), validation.View(kHidden, kLabels),
                               FitOptions{});
  ASSERT_TRUE(fit.ok()) << fit.status();
  EXPECT_EQ(fit->head.layer, 7);
  EXPECT_LT(fit->kl, 1e-3);
  EXPECT_GE(fit->agreement, 0.99);
}

TEST(FitExitHead, HeadReproducesTheTargetsDistribution) {
  const Examples fitting = Planted(600, 0, 2);
  const auto fit =
      FitExitHead(7, fitting.View(kHidden, kLabels), fitting.View(kHidden, kLabels), FitOptions{});
  ASSERT_TRUE(fit.ok()) << fit.status();
  std::vector<float> probabilities(static_cast<size_t>(kLabels));
  for (size_t s = 0; s < 20; ++s) {
    const float* logits = fitting.logits.data() + s * kLabels;
    double sum = 0;
    double entropy = 0;
    for (int64_t k = 0; k < kLabels; ++k) sum += std::exp(logits[k] - logits[0]);
    const auto h = std::span(fitting.hidden).subspan(s * kHidden, kHidden);
    const float got = fit->head.Entropy(h, probabilities);
    for (int64_t k = 0; k < kLabels; ++k) {
      const double p = std::exp(logits[k] - logits[0]) / sum;
      entropy -= p > 0 ? p * std::log(p) : 0;
      EXPECT_NEAR(probabilities[static_cast<size_t>(k)], p, 0.03);
    }
    EXPECT_NEAR(got, entropy, 0.06);
  }
}

TEST(FitExitHead, WeightDecayHelpsWhereSamplesAreFew) {
  const Examples fitting = Planted(40, 2, 2);
  const Examples validation = Planted(400, 2, 3);
  FitOptions options;
  const auto chosen =
      FitExitHead(1, fitting.View(kHidden, kLabels), validation.View(kHidden, kLabels), options);
  options.weight_decays = {0};
  const auto plain =
      FitExitHead(1, fitting.View(kHidden, kLabels), validation.View(kHidden, kLabels), options);
  ASSERT_TRUE(chosen.ok() && plain.ok());
  EXPECT_LT(chosen->kl, plain->kl);
}

TEST(FitExitHead, IsDeterministic) {
  const Examples fitting = Planted(100, 1, 2);
  const auto view = fitting.View(kHidden, kLabels);
  const auto a = FitExitHead(1, view, view, FitOptions{});
  const auto b = FitExitHead(1, view, view, FitOptions{});
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->head.weight, b->head.weight);
  EXPECT_EQ(a->head.temperature, b->head.temperature);
}

TEST(FitExitHead, RefusesTooFewSamples) {
  const Examples none;
  const Examples some = Planted(10, 0, 1);
  const auto fit = FitExitHead(1, none.View(kHidden, kLabels), some.View(kHidden, kLabels), {});
  EXPECT_EQ(fit.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(FitExitHead, RefusesValuesThatAreNotFinite) {
  Examples bad = Planted(10, 0, 1);
  bad.hidden[3] = std::numeric_limits<float>::quiet_NaN();
  const auto view = bad.View(kHidden, kLabels);
  EXPECT_EQ(FitExitHead(1, view, view, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ExitHead, IsNeverCertainOfAStateThatIsNotFinite) {
  ExitHead head{3, std::vector<float>(8, 1.0f), {0, 5}, 1.0f};
  std::vector<float> probabilities(2);
  const std::vector<float> hidden = {1, std::numeric_limits<float>::infinity(), 0, 0};
  EXPECT_NEAR(head.Entropy(hidden, probabilities), std::log(2.0f), 1e-6);
}

TEST(ExitHead, TakesAZeroState) {
  ExitHead head{3, std::vector<float>(8, 1.0f), {0, 0}, 1.0f};
  std::vector<float> probabilities(2);
  EXPECT_NEAR(head.Entropy(std::vector<float>(4, 0.0f), probabilities), std::log(2.0f), 1e-6);
  EXPECT_FLOAT_EQ(probabilities[0], 0.5f);
}

}  // namespace
}  // namespace spade
