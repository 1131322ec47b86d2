#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace spade {

// Beside a model's stages two more things are measured like stages, behind them.
inline constexpr int32_t kHeadCost = 0;   // the output head, by rows
inline constexpr int32_t kCheckCost = 1;  // L-SPADE's guesses at an exit, by rows
inline constexpr int32_t kExtraCosts = 2;

// Seconds that a stage takes for a number of rows, learnt from what it took: per power of two of
// rows a moving average, with straight lines between. Fewer rows than ever seen cost as much as the
// fewest seen (the weights are streamed all the same), more cost in proportion. Plain data: not
// thread-safe.
class StageCosts {
 public:
  explicit StageCosts(int32_t num_stages) : stages_(static_cast<size_t>(num_stages)) {}

  int32_t num_stages() const { return static_cast<int32_t>(stages_.size()); }
  void Observe(int32_t stage, int64_t rows, double seconds);
  // 0 for no rows, or where the stage was never observed.
  double Predict(int32_t stage, int64_t rows) const;
  // The sum over stages [first, last).
  double Predict(int32_t first, int32_t last, int64_t rows) const;

 private:
  static constexpr size_t kBuckets = 32;
  struct Bucket {
    double rows = 0;  // 0: nothing was seen
    double seconds = 0;
  };
  using Buckets = std::array<Bucket, kBuckets>;

  std::vector<Buckets> stages_;
};

}  // namespace spade
