#include "engine/exit/linear_solve.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/check.h"

namespace spade {
namespace {

// Four independent sums, in a fixed order: the compiler may use vectors, results stay the same.
double Dot(const double* a, const double* b, int64_t count) {
  double sums[4] = {0, 0, 0, 0};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int64_t lane = 0; lane < 4; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < count; ++i) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

Cholesky::Cholesky(std::vector<double> matrix, int64_t size)
    : factor_(std::move(matrix)), size_(size) {
  SPADE_CHECK(static_cast<int64_t>(factor_.size()) == size * size);
  for (int64_t i = 0; i < size; ++i) {
    double* row = factor_.data() + i * size;
    for (int64_t j = 0; j < i; ++j) {
      const double* other = factor_.data() + j * size;
      row[j] = (row[j] - Dot(row, other, j)) / other[j];
    }
    const double pivot = row[i] - Dot(row, row, i);
    SPADE_CHECK(pivot > 0);
    row[i] = std::sqrt(pivot);
  }
}

void Cholesky::Solve(std::span<double> b) const {
  SPADE_CHECK(static_cast<int64_t>(b.size()) == size_);
  for (int64_t i = 0; i < size_; ++i) {
    const double* row = factor_.data() + i * size_;
    b[i] = (b[i] - Dot(row, b.data(), i)) / row[i];
  }
  for (int64_t i = size_ - 1; i >= 0; --i) {
    const double* row = factor_.data() + i * size_;
    b[i] /= row[i];
    for (int64_t j = 0; j < i; ++j) b[j] -= row[j] * b[i];
  }
}

RidgeProblem::RidgeProblem(std::span<const float> features, std::span<const double> targets,
                           int64_t samples, int64_t inputs, int64_t outputs)
    : samples_(samples),
      inputs_(inputs),
      outputs_(outputs),
      gram_(static_cast<size_t>(inputs * inputs)),
      cross_(static_cast<size_t>(outputs * inputs)) {
  SPADE_CHECK(static_cast<int64_t>(features.size()) == samples * inputs);
  SPADE_CHECK(static_cast<int64_t>(targets.size()) == samples * outputs);
  for (int64_t s = 0; s < samples; ++s) {
    const float* x = features.data() + s * inputs;
    for (int64_t i = 0; i < inputs; ++i) {
      double* row = gram_.data() + i * inputs;
      const double scale = x[i];
      for (int64_t j = 0; j <= i; ++j) row[j] += scale * x[j];
    }
    for (int64_t k = 0; k < outputs; ++k) {
      double* row = cross_.data() + k * inputs;
      const double scale = targets[s * outputs + k];
      for (int64_t j = 0; j < inputs; ++j) row[j] += scale * x[j];
    }
  }
}

std::vector<double> RidgeProblem::Solve(double ridge) const {
  SPADE_CHECK(ridge > 0);
  std::vector<double> matrix = gram_;
  for (int64_t i = 0; i < inputs_; ++i) {
    matrix[i * inputs_ + i] += ridge * static_cast<double>(std::max<int64_t>(1, samples_));
  }
  const Cholesky factor(std::move(matrix), inputs_);
  std::vector<double> weights = cross_;
  for (int64_t k = 0; k < outputs_; ++k) {
    factor.Solve(
        std::span(weights).subspan(static_cast<size_t>(k * inputs_), static_cast<size_t>(inputs_)));
  }
  return weights;
}

}  // namespace spade
