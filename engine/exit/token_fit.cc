#include "engine/exit/token_fit.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/finite.h"
#include "engine/base/status_macros.h"
#include "engine/exit/lbfgs.h"
#include "engine/exit/token_problem.h"

namespace spade {
namespace {

absl::Status CheckExamples(const char* part, const TokenExamples& examples) {
  if (examples.samples < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", part, " part has ", examples.samples, " tokens; give more prompts"));
  }
  for (const auto values : {examples.hidden, examples.final, examples.targets}) {
    if (!AllFinite(values)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the ", part, " part holds values that are not finite"));
    }
  }
  return absl::OkStatus();
}

// Reduced-rank regression of what the target adds on the hidden state: the ridge solution,
// projected on the directions in which its predictions vary most.
class ReducedRank {
 public:
  ReducedRank(const TokenExamples& examples, int64_t hidden)
      : x_(FloatMap(examples.hidden.data(), examples.samples, hidden)),
        gram_((x_.transpose() * x_).cast<double>() / double(examples.samples)) {
    const FloatMatrix added = FloatMap(examples.final.data(), examples.samples, hidden) - x_;
    cross_ = (x_.transpose() * added).cast<double>() / double(examples.samples);
  }

  // `ridge` is a share of the mean variance of a feature.
  TokenParameters Solve(double ridge, int64_t rank) const {
    const Eigen::Index hidden = gram_.rows();
    const Eigen::MatrixXd damped =
        gram_ + ridge * gram_.trace() / double(hidden) * Eigen::MatrixXd::Identity(hidden, hidden);
    const Eigen::MatrixXd map = damped.ldlt().solve(cross_);  // (hidden, hidden): x -> added
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> spectrum(map.transpose() * gram_ * map);
    const Eigen::MatrixXd directions = spectrum.eigenvectors().rightCols(rank);
    TokenParameters parameters = TokenParameters::Zero(rank, hidden);
    parameters.up = directions.cast<float>();
    parameters.down = (map * directions).transpose().cast<float>();
    return parameters;
  }

 private:
  FloatMap x_;
  Eigen::MatrixXd gram_;
  Eigen::MatrixXd cross_;
};

// The temperature that lowers the KL most, by golden section over its logarithm.
double BestTemperature(const TokenProblem& problem, const FloatMatrix& logits) {
  constexpr double kGolden = 0.6180339887498949;
  double low = std::log(0.2);
  double high = std::log(5.0);
  for (int i = 0; i < 30; ++i) {
    const double left = high - kGolden * (high - low);
    const double right = low + kGolden * (high - low);
    if (problem.MeanKl(logits, std::exp(left)) < problem.MeanKl(logits, std::exp(right))) {
      high = right;
    } else {
      low = left;
    }
  }
  return std::exp((low + high) / 2);
}

TokenExit ToExit(int32_t layer, const TokenParameters& parameters, double temperature) {
  TokenExit exit;
  exit.layer = layer;
  exit.down.assign(parameters.down.data(), parameters.down.data() + parameters.down.size());
  exit.up.assign(parameters.up.data(), parameters.up.data() + parameters.up.size());
  exit.other.assign(parameters.other.data(), parameters.other.data() + parameters.other.size());
  exit.other_bias = parameters.other_bias;
  exit.temperature = static_cast<float>(temperature);
  return exit;
}

// Where validation is best on the optimiser's way.
std::vector<double> Minimize(const TokenProblem& fitting, const TokenProblem& validation,
                             std::vector<double> start, const TokenFitOptions& options) {
  const int64_t hidden = fitting.hidden_size();
  const auto unpack = [&](std::span<const double> values) {
    return TokenParameters::FromVector(values, options.rank, hidden);
  };
  std::vector<double> best = start;
  double best_kl = validation.MeanKl(validation.Logits(unpack(start)), 1);
  int stale = 0;
  LbfgsOptions lbfgs;
  lbfgs.max_iterations = options.max_iterations;
  MinimizeLbfgs(
      [&](std::span<const double> values, std::span<double> gradient) {
        return fitting.Loss(unpack(values), options.weight_decay, gradient);
      },
      [&](std::span<const double> values) {
        const double kl = validation.MeanKl(validation.Logits(unpack(values)), 1);
        stale = kl < best_kl ? 0 : stale + 1;
        if (kl < best_kl) {
          best_kl = kl;
          best.assign(values.begin(), values.end());
        }
        return stale < options.patience;
      },
      std::move(start), lbfgs);
  return best;
}

}  // namespace

std::vector<float> CandidateTargets(const CandidateHead& head, std::span<const float> final,
                                    std::span<const float> log_sum_exps) {
  const auto hidden = std::ssize(head.norm);
  const auto samples = std::ssize(log_sum_exps);
  const auto candidates = std::ssize(head.rows) / hidden;
  FloatMatrix states = FloatMap(final.data(), samples, hidden);
  const auto size = static_cast<float>(hidden);
  const Eigen::VectorXf rms =
      ((states.rowwise().squaredNorm() / size).array() + head.norm_epsilon).sqrt();
  states = rms.cwiseInverse().asDiagonal() * states;
  states = states * FloatMap(head.norm.data(), 1, hidden).row(0).asDiagonal();
  FloatMatrix targets(samples, candidates + 1);
  targets.leftCols(candidates).noalias() =
      states * FloatMap(head.rows.data(), candidates, hidden).transpose();
  for (Eigen::Index s = 0; s < samples; ++s) {
    auto row = targets.row(s).head(candidates);
    row = (row.array() - log_sum_exps[static_cast<size_t>(s)]).exp();
    targets(s, candidates) = std::clamp(1 - row.sum(), 0.0f, 1.0f);
  }
  return {targets.data(), targets.data() + targets.size()};
}

absl::StatusOr<TokenFit> FitTokenExit(int32_t layer, const CandidateHead& head,
                                      const TokenExamples& fitting, const TokenExamples& validation,
                                      const TokenFitOptions& options) {
  SPADE_RETURN_IF_ERROR(CheckExamples("fit", fitting));
  SPADE_RETURN_IF_ERROR(CheckExamples("validation", validation));
  const auto hidden = std::ssize(head.norm);
  TokenFitOptions fit_options = options;
  fit_options.rank = static_cast<int32_t>(std::min<int64_t>(options.rank, hidden));
  const TokenProblem fit(head, fitting);
  const TokenProblem check(head, validation);
  const ReducedRank regression(fitting, hidden);
  TokenParameters start = TokenParameters::Zero(fit_options.rank, hidden);
  double best_kl = std::numeric_limits<double>::infinity();
  for (const double ridge : options.ridges) {
    TokenParameters solved = regression.Solve(ridge, fit_options.rank);
    const double kl = check.MeanKl(check.Logits(solved), 1);
    if (kl >= best_kl) continue;
    best_kl = kl;
    start = std::move(solved);
  }
  const auto best = TokenParameters::FromVector(Minimize(fit, check, start.ToVector(), fit_options),
                                                fit_options.rank, hidden);
  const FloatMatrix logits = check.Logits(best);
  const double temperature = BestTemperature(check, logits);
  return TokenFit{ToExit(layer, best, temperature), check.MeanKl(logits, temperature),
                  check.Agreement(logits)};
}

std::vector<float> TokenProbabilities(const TokenExit& exit, const CandidateHead& head,
                                      std::span<const float> hidden) {
  const auto hidden_size = std::ssize(head.norm);
  const auto rank = std::ssize(exit.down) / hidden_size;
  TokenParameters parameters = TokenParameters::Zero(rank, hidden_size);
  std::ranges::copy(exit.down, parameters.down.data());
  std::ranges::copy(exit.up, parameters.up.data());
  std::ranges::copy(exit.other, parameters.other.data());
  parameters.other_bias = exit.other_bias;
  TokenExamples examples;
  examples.samples = std::ssize(hidden) / hidden_size;
  examples.hidden = hidden;
  FloatMatrix logits = TokenProblem(head, examples).Logits(parameters) / exit.temperature;
  logits.colwise() -= Eigen::VectorXf(logits.rowwise().maxCoeff());
  FloatMatrix probabilities = logits.array().exp().matrix();
  const Eigen::VectorXf sums = probabilities.rowwise().sum();
  probabilities = sums.cwiseInverse().asDiagonal() * probabilities;
  return {probabilities.data(), probabilities.data() + probabilities.size()};
}

}  // namespace spade
