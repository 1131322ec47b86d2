#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/exit/token_fit.h"

namespace spade {

using FloatMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatMap = Eigen::Map<const FloatMatrix>;

// The parameters of a TokenExit as the optimiser sees them: down (rank, hidden), up (hidden, rank),
// other (hidden), other_bias.
struct TokenParameters {
  FloatMatrix down;
  FloatMatrix up;
  Eigen::VectorXf other;
  float other_bias = 0;

  static TokenParameters Zero(int64_t rank, int64_t hidden);
  static TokenParameters FromVector(std::span<const double> values, int64_t rank, int64_t hidden);
  std::vector<double> ToVector() const;
};

// One part of the examples with the model's head, in Eigen's terms.
class TokenProblem {
 public:
  // Both outlive this.
  TokenProblem(const CandidateHead& head, const TokenExamples& examples);

  int64_t samples() const { return hidden_.rows(); }
  int64_t hidden_size() const { return hidden_.cols(); }

  // Logits before the temperature: (samples, candidates + 1).
  FloatMatrix Logits(const TokenParameters& parameters) const;
  // Mean KL(targets || softmax(logits / temperature)), in nats.
  double MeanKl(const FloatMatrix& logits, double temperature) const;
  // Share of samples whose largest logit is the largest target's.
  double Agreement(const FloatMatrix& logits) const;
  // Mean KL at temperature 1, plus weight_decay / 2 * |down, up, other|^2; its gradient is written
  // to `gradient` in TokenParameters' order.
  double Loss(const TokenParameters& parameters, double weight_decay,
              std::span<double> gradient) const;

 private:
  // The residual stream after the map, over its RMS; and that RMS.
  struct Normed {
    FloatMatrix states;    // (samples, hidden): without the norm's weight
    Eigen::VectorXf rms;   // (samples)
    FloatMatrix narrowed;  // (samples, rank)
  };
  Normed Norm(const TokenParameters& parameters) const;
  FloatMatrix LogitsOf(const Normed& normed, const TokenParameters& parameters) const;

  FloatMap rows_;  // (candidates, hidden)
  FloatMap norm_;  // (1, hidden)
  float epsilon_;
  FloatMap hidden_;   // (samples, hidden)
  FloatMap targets_;  // (samples, candidates + 1)
};

}  // namespace spade
