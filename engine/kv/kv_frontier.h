#pragma once

#include <cstdint>
#include <vector>

#include "kernels/check.h"

namespace spade {

// Filled key/value length of one sequence, per stage. The one place where a length grows.
// Invariant I1: it never grows with depth: filled(0) >= filled(1) >= ...
class KvFrontier {
 public:
  explicit KvFrontier(int32_t num_stages) : filled_(static_cast<size_t>(num_stages), 0) {}

  int32_t num_stages() const { return static_cast<int32_t>(filled_.size()); }
  int32_t filled(int32_t stage) const { return filled_[static_cast<size_t>(stage)]; }
  // Positions whose keys and values exist at every stage.
  int32_t complete() const { return filled_.back(); }

  // Positions below `end` are written at the first `depth` stages, and were not all before.
  void Fill(int32_t depth, int32_t end) {
    for (int32_t stage = 0; stage < depth; ++stage) {
      SPADE_DCHECK(filled(stage) <= end);
      filled_[static_cast<size_t>(stage)] = end;
    }
    SPADE_DCHECK(depth == num_stages() || filled(depth) <= end);
  }
  // Forgets positions from `length` on, at every stage (rejected drafts, preemption).
  void Truncate(int32_t length) {
    for (int32_t& filled : filled_) {
      if (filled > length) filled = length;
    }
  }

 private:
  std::vector<int32_t> filled_;
};

}  // namespace spade
