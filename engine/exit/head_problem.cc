#include "engine/exit/head_problem.h"

#include <algorithm>
#include <cmath>

namespace spade {
namespace {

float InverseRms(std::span<const float> hidden) {
  double squares = 0;
  for (const float value : hidden) squares += double{value} * value;
  const double rms = std::sqrt(squares / static_cast<double>(hidden.size()));
  return rms > 0 ? static_cast<float>(1 / rms) : 0.0f;
}

void RowLogits(const HeadProblem& problem, std::span<const double> parameters, int64_t sample,
               std::span<double> logits) {
  const float* x = problem.features.data() + sample * problem.inputs;
  for (int64_t k = 0; k < problem.labels; ++k) {
    const double* row = parameters.data() + k * (problem.inputs + 1);
    double sums[4] = {row[problem.inputs], 0, 0, 0};
    int64_t j = 0;
    for (; j + 4 <= problem.inputs; j += 4) {
      for (int64_t lane = 0; lane < 4; ++lane) sums[lane] += row[j + lane] * x[j + lane];
    }
    for (; j < problem.inputs; ++j) sums[0] += row[j] * x[j];
    logits[static_cast<size_t>(k)] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
}

double KlOf(std::span<const double> target, std::span<const double> probabilities) {
  double kl = 0;
  for (size_t k = 0; k < target.size(); ++k) {
    if (target[k] > 0) kl += target[k] * std::log(target[k] / std::max(probabilities[k], 1e-300));
  }
  return kl;
}

}  // namespace

// Softmax of `logits / temperature`, in place.
void Softmax(std::span<double> logits, double temperature) {
  const double top = *std::ranges::max_element(logits);
  double sum = 0;
  for (double& value : logits) sum += value = std::exp((value - top) / temperature);
  for (double& value : logits) value /= sum;
}

HeadProblem MakeHeadProblem(const HeadExamples& examples) {
  HeadProblem problem{examples.samples, examples.hidden_size, examples.labels, {}, {}, {}};
  const auto inputs = static_cast<size_t>(examples.hidden_size);
  const auto labels = static_cast<size_t>(examples.labels);
  problem.features.assign(examples.hidden.begin(), examples.hidden.end());
  problem.logits.assign(examples.logits.begin(), examples.logits.end());
  for (size_t s = 0; s < static_cast<size_t>(examples.samples); ++s) {
    const float scale = InverseRms(examples.hidden.subspan(s * inputs, inputs));
    for (float& value : std::span(problem.features).subspan(s * inputs, inputs)) value *= scale;
    const std::span<double> logits = std::span(problem.logits).subspan(s * labels, labels);
    double mean = 0;
    for (const double value : logits) mean += value / static_cast<double>(labels);
    for (double& value : logits) value -= mean;
  }
  problem.targets = problem.logits;
  for (size_t s = 0; s < static_cast<size_t>(examples.samples); ++s) {
    Softmax(std::span(problem.targets).subspan(s * labels, labels), 1);
  }
  return problem;
}

Standardizer FitStandardizer(const HeadProblem& problem) {
  const auto inputs = static_cast<size_t>(problem.inputs);
  const auto samples = static_cast<double>(problem.samples);
  Standardizer result{std::vector<double>(inputs), std::vector<double>(inputs, 1.0)};
  std::vector<double> squares(inputs);
  for (size_t i = 0; i < problem.features.size(); ++i) {
    result.mean[i % inputs] += problem.features[i] / samples;
  }
  for (size_t i = 0; i < problem.features.size(); ++i) {
    const double offset = problem.features[i] - result.mean[i % inputs];
    squares[i % inputs] += offset * offset / samples;
  }
  for (size_t j = 0; j < inputs; ++j) {
    if (squares[j] > 1e-12) result.scale[j] = 1 / std::sqrt(squares[j]);
  }
  return result;
}

void Standardize(const Standardizer& standardizer, HeadProblem& problem) {
  const auto inputs = static_cast<size_t>(problem.inputs);
  for (size_t i = 0; i < problem.features.size(); ++i) {
    const size_t j = i % inputs;
    problem.features[i] =
        static_cast<float>((problem.features[i] - standardizer.mean[j]) * standardizer.scale[j]);
  }
}

std::vector<double> HeadLogits(const HeadProblem& problem, std::span<const double> parameters) {
  std::vector<double> logits(static_cast<size_t>(problem.samples * problem.labels));
  const auto labels = static_cast<size_t>(problem.labels);
  for (int64_t s = 0; s < problem.samples; ++s) {
    RowLogits(problem, parameters, s,
              std::span(logits).subspan(static_cast<size_t>(s) * labels, labels));
  }
  return logits;
}

double MeanKl(const HeadProblem& problem, std::span<const double> logits, double temperature) {
  const auto labels = static_cast<size_t>(problem.labels);
  std::vector<double> row(labels);
  double total = 0;
  for (int64_t s = 0; s < problem.samples; ++s) {
    std::ranges::copy(logits.subspan(static_cast<size_t>(s) * labels, labels), row.begin());
    Softmax(row, temperature);
    total += KlOf(problem.TargetOf(s), row);
  }
  return total / static_cast<double>(problem.samples);
}

double HeadLoss(const HeadProblem& problem, double weight_decay, std::span<const double> parameters,
                std::span<double> gradient) {
  const int64_t inputs = problem.inputs;
  const double share = 1 / static_cast<double>(problem.samples);
  std::ranges::fill(gradient, 0.0);
  std::vector<double> logits(static_cast<size_t>(problem.labels));
  double loss = 0;
  for (int64_t s = 0; s < problem.samples; ++s) {
    RowLogits(problem, parameters, s, logits);
    Softmax(logits, 1);
    const std::span<const double> target = problem.TargetOf(s);
    loss += share * KlOf(target, logits);
    const float* x = problem.features.data() + s * inputs;
    for (int64_t k = 0; k < problem.labels; ++k) {
      const auto label = static_cast<size_t>(k);
      const double error = share * (logits[label] - target[label]);
      double* row = gradient.data() + k * (inputs + 1);
      for (int64_t j = 0; j < inputs; ++j) row[j] += error * x[j];
      row[inputs] += error;
    }
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (static_cast<int64_t>(i) % (inputs + 1) == inputs) continue;
    loss += weight_decay / 2 * parameters[i] * parameters[i];
    gradient[i] += weight_decay * parameters[i];
  }
  return loss;
}

ExitHead MakeExitHead(int32_t layer, const HeadProblem& problem, const Standardizer& standardizer,
                      std::span<const double> parameters, double temperature) {
  ExitHead head;
  head.layer = layer;
  head.temperature = static_cast<float>(temperature);
  for (int64_t k = 0; k < problem.labels; ++k) {
    const double* row = parameters.data() + k * (problem.inputs + 1);
    double bias = row[problem.inputs];
    for (int64_t j = 0; j < problem.inputs; ++j) {
      const double weight = row[j] * standardizer.scale[static_cast<size_t>(j)];
      bias -= weight * standardizer.mean[static_cast<size_t>(j)];
      head.weight.push_back(static_cast<float>(weight));
    }
    head.bias.push_back(static_cast<float>(bias));
  }
  return head;
}

}  // namespace spade
