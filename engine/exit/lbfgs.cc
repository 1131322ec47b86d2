#include "engine/exit/lbfgs.h"

#include <cmath>
#include <deque>
#include <utility>

namespace spade {
namespace {

constexpr double kSufficientDecrease = 1e-4;  // Armijo
constexpr int kMaxHalvings = 30;

struct Correction {
  std::vector<double> step;
  std::vector<double> gradient_change;
  double inverse_curvature;  // 1 / (step . gradient_change)
};

double Dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void AddScaled(std::span<double> target, double scale, std::span<const double> source) {
  for (size_t i = 0; i < target.size(); ++i) target[i] += scale * source[i];
}

// The two-loop recursion: -H * gradient for the inverse Hessian the corrections describe.
std::vector<double> Direction(const std::deque<Correction>& corrections,
                              std::span<const double> gradient) {
  std::vector<double> direction(gradient.begin(), gradient.end());
  std::vector<double> alphas(corrections.size());
  for (size_t i = corrections.size(); i-- > 0;) {
    const Correction& c = corrections[i];
    alphas[i] = c.inverse_curvature * Dot(c.step, direction);
    AddScaled(direction, -alphas[i], c.gradient_change);
  }
  double scale = 1 / std::max(1.0, std::sqrt(Dot(gradient, gradient)));
  if (!corrections.empty()) {
    const Correction& c = corrections.back();
    scale = 1 / (c.inverse_curvature * Dot(c.gradient_change, c.gradient_change));
  }
  for (double& value : direction) value *= scale;
  for (size_t i = 0; i < corrections.size(); ++i) {
    const Correction& c = corrections[i];
    const double beta = c.inverse_curvature * Dot(c.gradient_change, direction);
    AddScaled(direction, alphas[i] - beta, c.step);
  }
  for (double& value : direction) value = -value;
  return direction;
}

}  // namespace

std::vector<double> MinimizeLbfgs(
    const std::function<double(std::span<const double>, std::span<double>)>& function,
    const std::function<bool(std::span<const double>)>& accept, std::vector<double> start,
    const LbfgsOptions& options) {
  std::vector<double> point = std::move(start);
  std::vector<double> gradient(point.size());
  double value = function(point, gradient);
  std::deque<Correction> corrections;
  for (int iteration = 0; iteration < options.max_iterations; ++iteration) {
    if (std::sqrt(Dot(gradient, gradient)) < options.gradient_tolerance) break;
    std::vector<double> step = Direction(corrections, gradient);
    const double slope = Dot(step, gradient);
    if (!(slope < 0)) break;
    std::vector<double> next(point.size());
    std::vector<double> next_gradient(point.size());
    double length = 1;
    double next_value = value;
    int halvings = 0;
    for (; halvings < kMaxHalvings; ++halvings, length /= 2) {
      next = point;
      AddScaled(next, length, step);
      next_value = function(next, next_gradient);
      if (next_value <= value + kSufficientDecrease * length * slope) break;
    }
    if (halvings == kMaxHalvings) break;
    for (double& component : step) component *= length;
    std::vector<double> change = next_gradient;
    AddScaled(change, -1, gradient);
    const double curvature = Dot(step, change);
    if (curvature > 1e-12 * Dot(change, change)) {
      corrections.push_back(Correction{std::move(step), std::move(change), 1 / curvature});
      if (static_cast<int>(corrections.size()) > options.history) corrections.pop_front();
    }
    point = std::move(next);
    gradient = std::move(next_gradient);
    value = next_value;
    if (!accept(point)) break;
  }
  return point;
}

}  // namespace spade
