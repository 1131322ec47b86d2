#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "loadtest/rng.h"

namespace spade::loadtest {

// A distribution of token counts. Samples are at least 1 and at most max().
class Lengths final {
 public:
  // "128" is fixed, "64:192" uniform (both ends included), "lognormal:MEAN:STDDEV" a long tail cut
  // at ten means. INVALID_ARGUMENT otherwise.
  static absl::StatusOr<Lengths> Parse(std::string_view text);

  uint32_t Sample(Rng& rng) const;
  uint32_t max() const { return max_; }
  double mean() const;

 private:
  enum class Shape { kUniform, kLognormal };

  Shape shape_ = Shape::kUniform;
  uint32_t min_ = 1;
  uint32_t max_ = 1;
  double mean_ = 1;    // kLognormal
  double stddev_ = 0;  // kLognormal
};

}  // namespace spade::loadtest
