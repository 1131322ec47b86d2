#include "engine/exit/token_problem.h"

#include <cmath>

namespace spade {
namespace {

FloatMap View(std::span<const float> values, int64_t rows, int64_t cols) {
  return FloatMap(values.data(), rows, cols);
}

// log softmax of each row of `logits / temperature`.
FloatMatrix LogSoftmax(const FloatMatrix& logits, double temperature) {
  FloatMatrix scaled = logits / static_cast<float>(temperature);
  const Eigen::VectorXf top = scaled.rowwise().maxCoeff();
  scaled.colwise() -= top;
  const Eigen::VectorXf log_sum = scaled.array().exp().rowwise().sum().log();
  scaled.colwise() -= log_sum;
  return scaled;
}

// Sum of t log t, with 0 log 0 = 0.
double NegativeEntropy(const FloatMap& targets) {
  double sum = 0;
  for (Eigen::Index i = 0; i < targets.size(); ++i) {
    const double t = targets.data()[i];
    if (t > 0) sum += t * std::log(t);
  }
  return sum;
}

}  // namespace

TokenParameters TokenParameters::Zero(int64_t rank, int64_t hidden) {
  return {FloatMatrix::Zero(rank, hidden), FloatMatrix::Zero(hidden, rank),
          Eigen::VectorXf::Zero(hidden), 0.0f};
}

TokenParameters TokenParameters::FromVector(std::span<const double> values, int64_t rank,
                                            int64_t hidden) {
  TokenParameters parameters = Zero(rank, hidden);
  const double* next = values.data();
  const auto take = [&](float* to, Eigen::Index count) {
    for (Eigen::Index i = 0; i < count; ++i) to[i] = static_cast<float>(*next++);
  };
  take(parameters.down.data(), parameters.down.size());
  take(parameters.up.data(), parameters.up.size());
  take(parameters.other.data(), parameters.other.size());
  take(&parameters.other_bias, 1);
  return parameters;
}

std::vector<double> TokenParameters::ToVector() const {
  std::vector<double> values(down.data(), down.data() + down.size());
  values.insert(values.end(), up.data(), up.data() + up.size());
  values.insert(values.end(), other.data(), other.data() + other.size());
  values.push_back(other_bias);
  return values;
}

TokenProblem::TokenProblem(const CandidateHead& head, const TokenExamples& examples)
    : rows_(View(head.rows, std::ssize(head.rows) / std::ssize(head.norm), std::ssize(head.norm))),
      norm_(View(head.norm, 1, std::ssize(head.norm))),
      epsilon_(head.norm_epsilon),
      hidden_(View(examples.hidden, examples.samples, std::ssize(head.norm))),
      targets_(View(examples.targets, examples.targets.empty() ? 0 : examples.samples,
                    rows_.rows() + 1)) {}

TokenProblem::Normed TokenProblem::Norm(const TokenParameters& parameters) const {
  Normed normed;
  normed.narrowed.noalias() = hidden_ * parameters.down.transpose();
  normed.states = hidden_;
  normed.states.noalias() += normed.narrowed * parameters.up.transpose();
  normed.rms = (normed.states.rowwise().squaredNorm() / static_cast<float>(hidden_.cols()))
                   .unaryExpr([this](float mean) { return std::sqrt(mean + epsilon_); });
  normed.states = normed.rms.cwiseInverse().asDiagonal() * normed.states;
  return normed;
}

FloatMatrix TokenProblem::LogitsOf(const Normed& normed, const TokenParameters& parameters) const {
  const FloatMatrix weighted = normed.states * norm_.row(0).asDiagonal();
  FloatMatrix logits(weighted.rows(), rows_.rows() + 1);
  logits.leftCols(rows_.rows()).noalias() = weighted * rows_.transpose();
  logits.rightCols(1) = weighted * parameters.other;
  logits.rightCols(1).array() += parameters.other_bias;
  return logits;
}

FloatMatrix TokenProblem::Logits(const TokenParameters& parameters) const {
  return LogitsOf(Norm(parameters), parameters);
}

double TokenProblem::MeanKl(const FloatMatrix& logits, double temperature) const {
  const FloatMatrix log_probabilities = LogSoftmax(logits, temperature);
  const double cross = (targets_.array() * log_probabilities.array()).cast<double>().sum();
  return (NegativeEntropy(targets_) - cross) / static_cast<double>(samples());
}

double TokenProblem::Agreement(const FloatMatrix& logits) const {
  double agreed = 0;
  for (Eigen::Index row = 0; row < logits.rows(); ++row) {
    Eigen::Index guessed = 0;
    Eigen::Index wanted = 0;
    logits.row(row).maxCoeff(&guessed);
    targets_.row(row).maxCoeff(&wanted);
    agreed += guessed == wanted ? 1 : 0;
  }
  return agreed / static_cast<double>(logits.rows());
}

double TokenProblem::Loss(const TokenParameters& parameters, double weight_decay,
                          std::span<double> gradient) const {
  const Normed normed = Norm(parameters);
  const FloatMatrix logits = LogitsOf(normed, parameters);
  const double kl = MeanKl(logits, 1);
  const auto scale = 1.0f / static_cast<float>(samples());
  const FloatMatrix d_logits =
      scale * (LogSoftmax(logits, 1).array().exp() - targets_.array()).matrix();

  const auto candidates = rows_.rows();
  FloatMatrix d_weighted = d_logits.leftCols(candidates) * rows_;
  d_weighted += d_logits.rightCols(1) * parameters.other.transpose();
  const FloatMatrix d_normed = d_weighted * norm_.row(0).asDiagonal();
  // Through x / rms(x): the part along x is taken out, up to epsilon's share.
  const Eigen::VectorXf along =
      d_normed.cwiseProduct(normed.states).rowwise().sum() / static_cast<float>(hidden_.cols());
  const FloatMatrix d_states = normed.rms.cwiseInverse().asDiagonal() *
                               (d_normed - FloatMatrix(along.asDiagonal() * normed.states));

  TokenParameters d;
  d.up = d_states.transpose() * normed.narrowed + float(weight_decay) * parameters.up;
  d.down = (d_states * parameters.up).transpose() * hidden_ + float(weight_decay) * parameters.down;
  d.other =
      (d_logits.rightCols(1).transpose() * normed.states * norm_.row(0).asDiagonal()).transpose() +
      float(weight_decay) * parameters.other;
  d.other_bias = d_logits.rightCols(1).sum();
  const std::vector<double> values = d.ToVector();
  std::copy(values.begin(), values.end(), gradient.begin());
  const double squares = parameters.down.cast<double>().squaredNorm() +
                         parameters.up.cast<double>().squaredNorm() +
                         parameters.other.cast<double>().squaredNorm();
  return kl + weight_decay / 2 * squares;
}

}  // namespace spade
