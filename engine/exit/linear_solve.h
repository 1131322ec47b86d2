#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spade {

// A symmetric positive definite system, factorised once: A = L L^T, in double.
class Cholesky {
 public:
  // `matrix`: (size, size), row-major; its lower triangle is read. SPADE_CHECKs that it is positive
  // definite: ridge systems are, by their diagonal.
  Cholesky(std::vector<double> matrix, int64_t size);

  // Solves A x = b in place; b: (size).
  void Solve(std::span<double> b) const;

 private:
  std::vector<double> factor_;  // (size, size), lower triangle
  int64_t size_;
};

// Ridge regression of targets on features: minimises sum |targets - weights * features|^2 +
// ridge * samples * |weights|^2, for several ridges at the cost of one Gram matrix.
class RidgeProblem {
 public:
  // `features`: (samples, inputs); `targets`: (samples, outputs). Both are read here only.
  RidgeProblem(std::span<const float> features, std::span<const double> targets, int64_t samples,
               int64_t inputs, int64_t outputs);

  // (outputs, inputs). ridge > 0.
  std::vector<double> Solve(double ridge) const;

 private:
  int64_t samples_;
  int64_t inputs_;
  int64_t outputs_;
  std::vector<double> gram_;   // (inputs, inputs), lower triangle
  std::vector<double> cross_;  // (outputs, inputs)
};

}  // namespace spade
