#include "engine/schedule/stage_costs.h"

#include <algorithm>
#include <bit>

namespace spade {
namespace {

constexpr double kWeight = 0.1;  // of the newest observation

}  // namespace

void StageCosts::Observe(int32_t stage, int64_t rows, double seconds) {
  if (rows <= 0) return;
  const auto index = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(rows)) - 1);
  Bucket& bucket = stages_[static_cast<size_t>(stage)][std::min(index, kBuckets - 1)];
  const double weight = bucket.rows == 0 ? 1 : kWeight;
  bucket.rows += weight * (static_cast<double>(rows) - bucket.rows);
  bucket.seconds += weight * (seconds - bucket.seconds);
}

double StageCosts::Predict(int32_t stage, int64_t rows) const {
  if (rows <= 0) return 0;
  const auto wanted = static_cast<double>(rows);
  const Bucket* below = nullptr;
  for (const Bucket& bucket : stages_[static_cast<size_t>(stage)]) {
    if (bucket.rows == 0) continue;
    if (bucket.rows >= wanted) {
      if (below == nullptr) return bucket.seconds;
      const double share = (wanted - below->rows) / (bucket.rows - below->rows);
      return below->seconds + share * (bucket.seconds - below->seconds);
    }
    below = &bucket;
  }
  return below == nullptr ? 0 : below->seconds * wanted / below->rows;
}

double StageCosts::Predict(int32_t first, int32_t last, int64_t rows) const {
  double seconds = 0;
  for (int32_t stage = first; stage < last; ++stage) seconds += Predict(stage, rows);
  return seconds;
}

}  // namespace spade
