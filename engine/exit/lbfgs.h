#pragma once

#include <functional>
#include <span>
#include <vector>

namespace spade {

struct LbfgsOptions {
  int max_iterations = 200;
  int history = 10;
  double gradient_tolerance = 1e-7;
};

// Minimises a smooth function from `start` and returns where it stopped. `function` returns the
// value at its first argument and writes the gradient there to its second. `accept` sees every
// iterate; false ends the search. Deterministic.
std::vector<double> MinimizeLbfgs(
    const std::function<double(std::span<const double>, std::span<double>)>& function,
    const std::function<bool(std::span<const double>)>& accept, std::vector<double> start,
    const LbfgsOptions& options);

}  // namespace spade
