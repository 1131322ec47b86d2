#include "engine/exit/fit.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/finite.h"
#include "engine/base/status_macros.h"
#include "engine/exit/head_problem.h"
#include "engine/exit/lbfgs.h"
#include "engine/exit/linear_solve.h"
#include "kernels/check.h"

namespace spade {
namespace {

absl::Status CheckExamples(const HeadExamples& examples, const char* part) {
  SPADE_CHECK(static_cast<int64_t>(examples.hidden.size()) ==
              examples.samples * examples.hidden_size);
  SPADE_CHECK(static_cast<int64_t>(examples.logits.size()) == examples.samples * examples.labels);
  if (examples.samples < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", part, " part holds ", examples.samples,
                     " prompts; fitting needs at least 2: give more prompts"));
  }
  if (!AllFinite(examples.hidden) || !AllFinite(examples.logits)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", part, " part holds hidden states or logits that are not finite"));
  }
  return absl::OkStatus();
}

struct Validation {
  double kl = INFINITY;
  double temperature = 1;
};

// The loss at the best temperature, by golden-section search over its logarithm.
Validation Validate(const HeadProblem& validation, std::span<const double> parameters) {
  const std::vector<double> logits = HeadLogits(validation, parameters);
  const auto loss = [&](double log_temperature) {
    return MeanKl(validation, logits, std::exp(log_temperature));
  };
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double low = std::log(0.1);
  double high = std::log(10.0);
  double left = high - golden * (high - low);
  double right = low + golden * (high - low);
  double left_loss = loss(left);
  double right_loss = loss(right);
  while (high - low > 1e-3) {
    if (left_loss < right_loss) {
      high = std::exchange(right, left);
      right_loss = left_loss;
      left = high - golden * (high - low);
      left_loss = loss(left);
    } else {
      low = std::exchange(left, right);
      left_loss = right_loss;
      right = low + golden * (high - low);
      right_loss = loss(right);
    }
  }
  return {std::min(left_loss, right_loss), std::exp(left_loss < right_loss ? left : right)};
}

struct Candidate {
  std::vector<double> parameters;  // (labels, inputs + 1)
  Validation validation;
  double strength = 0;  // the ridge or weight decay that made it
};

// Stage 1. The features have zero mean, so the bias is the mean of the logits.
Candidate FitRidge(const HeadProblem& fitting, const HeadProblem& validation,
                   std::span<const double> ridges) {
  const int64_t inputs = fitting.inputs;
  std::vector<double> bias(static_cast<size_t>(fitting.labels));
  for (size_t i = 0; i < fitting.logits.size(); ++i) {
    bias[i % bias.size()] += fitting.logits[i] / static_cast<double>(fitting.samples);
  }
  const RidgeProblem ridge_problem(fitting.features, fitting.logits, fitting.samples, inputs,
                                   fitting.labels);
  Candidate best;
  for (const double ridge : ridges) {
    const std::vector<double> weights = ridge_problem.Solve(ridge);
    std::vector<double> parameters;
    for (int64_t k = 0; k < fitting.labels; ++k) {
      const auto row = weights.begin() + k * inputs;
      parameters.insert(parameters.end(), row, row + inputs);
      parameters.push_back(bias[static_cast<size_t>(k)]);
    }
    const Validation result = Validate(validation, parameters);
    if (result.kl < best.validation.kl) best = {std::move(parameters), result, ridge};
  }
  return best;
}

// Stage 2, from the ridge solution; the best iterate on validation, over all weight decays.
Candidate FitKl(const HeadProblem& fitting, const HeadProblem& validation, const Candidate& start,
                const FitOptions& options) {
  Candidate best{start.parameters, start.validation, 0};
  for (const double weight_decay : options.weight_decays) {
    double best_here = INFINITY;
    int since_best = 0;
    const auto accept = [&](std::span<const double> parameters) {
      const Validation result = Validate(validation, parameters);
      since_best = result.kl < best_here ? 0 : since_best + 1;
      best_here = std::min(best_here, result.kl);
      if (result.kl < best.validation.kl) {
        best = {{parameters.begin(), parameters.end()}, result, weight_decay};
      }
      return since_best < options.patience;
    };
    const auto loss = [&](std::span<const double> parameters, std::span<double> gradient) {
      return HeadLoss(fitting, weight_decay, parameters, gradient);
    };
    LbfgsOptions lbfgs;
    lbfgs.max_iterations = options.max_iterations;
    MinimizeLbfgs(loss, accept, start.parameters, lbfgs);
  }
  return best;
}

double Agreement(const HeadProblem& problem, std::span<const double> parameters) {
  const std::vector<double> logits = HeadLogits(problem, parameters);
  const auto labels = static_cast<size_t>(problem.labels);
  int64_t agreed = 0;
  for (int64_t s = 0; s < problem.samples; ++s) {
    const auto row = std::span(logits).subspan(static_cast<size_t>(s) * labels, labels);
    const auto target = problem.TargetOf(s);
    agreed += std::ranges::max_element(row) - row.begin() ==
              std::ranges::max_element(target) - target.begin();
  }
  return static_cast<double>(agreed) / static_cast<double>(problem.samples);
}

}  // namespace

absl::StatusOr<HeadFit> FitExitHead(int32_t layer, const HeadExamples& fitting,
                                    const HeadExamples& validation, const FitOptions& options) {
  SPADE_RETURN_IF_ERROR(CheckExamples(fitting, "fitting"));
  SPADE_RETURN_IF_ERROR(CheckExamples(validation, "validation"));
  SPADE_CHECK(fitting.hidden_size == validation.hidden_size);
  SPADE_CHECK(fitting.labels == validation.labels && fitting.labels > 0);
  HeadProblem fit = MakeHeadProblem(fitting);
  HeadProblem held_out = MakeHeadProblem(validation);
  const Standardizer standardizer = FitStandardizer(fit);
  Standardize(standardizer, fit);
  Standardize(standardizer, held_out);
  const Candidate ridge = FitRidge(fit, held_out, options.ridges);
  const Candidate best = FitKl(fit, held_out, ridge, options);
  HeadFit result;
  result.head =
      MakeExitHead(layer, fit, standardizer, best.parameters, best.validation.temperature);
  result.kl = best.validation.kl;
  result.agreement = Agreement(held_out, best.parameters);
  result.ridge = ridge.strength;
  result.weight_decay = best.strength;
  return result;
}

}  // namespace spade
