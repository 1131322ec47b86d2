#include "loadtest/lengths.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace spade::loadtest {
namespace {

constexpr double kMaxLength = 1 << 24;

absl::Status BadLengths(std::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("length '", std::string(text),
                   "': write N, LOW:HIGH or lognormal:MEAN:STDDEV, all between 1 and 16777216"));
}

}  // namespace

absl::StatusOr<Lengths> Lengths::Parse(std::string_view text) {
  std::vector<std::string> parts = absl::StrSplit(std::string(text), ':');
  const bool lognormal = parts.front() == "lognormal";
  if (lognormal) parts.erase(parts.begin());
  double low = 0;
  double high = 0;
  if (parts.empty() || parts.size() > 2 || (lognormal && parts.size() != 2))
    return BadLengths(text);
  if (!absl::SimpleAtod(parts.front(), &low) || !absl::SimpleAtod(parts.back(), &high)) {
    return BadLengths(text);
  }
  if (!(low >= 1 && low <= kMaxLength && high <= kMaxLength)) return BadLengths(text);
  Lengths lengths;
  if (lognormal) {
    if (!(high >= 0)) return BadLengths(text);
    lengths.shape_ = Shape::kLognormal;
    lengths.mean_ = low;
    lengths.stddev_ = high;
    lengths.max_ = static_cast<uint32_t>(std::ceil(10 * low));
    return lengths;
  }
  if (!(high >= low)) return BadLengths(text);
  lengths.min_ = static_cast<uint32_t>(low);
  lengths.max_ = static_cast<uint32_t>(high);
  return lengths;
}

uint32_t Lengths::Sample(Rng& rng) const {
  if (shape_ == Shape::kUniform) return min_ + rng.Below(max_ - min_ + 1);
  const double variance = std::log1p(stddev_ * stddev_ / (mean_ * mean_));
  std::lognormal_distribution<double> length(std::log(mean_) - variance / 2, std::sqrt(variance));
  return static_cast<uint32_t>(std::clamp(std::round(length(rng)), 1.0, static_cast<double>(max_)));
}

double Lengths::mean() const {
  return shape_ == Shape::kLognormal ? mean_ : (static_cast<double>(min_) + max_) / 2;
}

}  // namespace spade::loadtest
