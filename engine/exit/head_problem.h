#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/exit/calibration.h"
#include "engine/exit/fit.h"

namespace spade {

// Examples in the form the optimiser sees. A head's parameters are (labels, inputs + 1): per label
// a row of weights, then its bias.
struct HeadProblem {
  int64_t samples = 0;
  int64_t inputs = 0;
  int64_t labels = 0;
  std::vector<float> features;  // (samples, inputs): hidden states over their RMS
  std::vector<double> logits;   // (samples, labels): centred per sample
  std::vector<double> targets;  // (samples, labels): probabilities

  std::span<const double> TargetOf(int64_t sample) const {
    return std::span(targets).subspan(static_cast<size_t>(sample * labels),
                                      static_cast<size_t>(labels));
  }
};

// Shift and scale that give every feature zero mean and unit variance.
struct Standardizer {
  std::vector<double> mean;   // (inputs)
  std::vector<double> scale;  // (inputs): 1 / standard deviation
};

HeadProblem MakeHeadProblem(const HeadExamples& examples);
Standardizer FitStandardizer(const HeadProblem& problem);
void Standardize(const Standardizer& standardizer, HeadProblem& problem);

// Softmax of `logits / temperature`, in place.
void Softmax(std::span<double> logits, double temperature);

// The head's logits of every sample: (samples, labels).
std::vector<double> HeadLogits(const HeadProblem& problem, std::span<const double> parameters);

// Mean KL(targets || softmax(logits / temperature)), in nats.
double MeanKl(const HeadProblem& problem, std::span<const double> logits, double temperature);

// Mean KL of the head at temperature 1, plus weight_decay / 2 * |weights|^2 (biases are free); its
// gradient is written to `gradient`.
double HeadLoss(const HeadProblem& problem, double weight_decay, std::span<const double> parameters,
                std::span<double> gradient);

// The head for hidden states as they are: standardisation is folded in.
ExitHead MakeExitHead(int32_t layer, const HeadProblem& problem, const Standardizer& standardizer,
                      std::span<const double> parameters, double temperature);

}  // namespace spade
