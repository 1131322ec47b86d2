#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/kv/block_pool.h"

namespace spade {

// Remembers which blocks were asked for that the prefix cache does not have: where answers leave
// early, nobody computes them to full depth, so that somebody must be told to. A table of fixed
// size; of the blocks that share a set, the one not asked for the longest makes room. Not
// thread-safe: owned by the scheduler.
class PrefixSightings {
 public:
  PrefixSightings() : sets_(kSets) {}

  // Counts the block; how often it was seen before, as far as is remembered.
  int32_t Count(const BlockHash& hash) {
    Set& set = sets_[hash.low % kSets];
    auto entry = std::find_if(set.begin(), set.end(),
                              [&hash](const Entry& known) { return known.hash == hash; });
    if (entry == set.end()) *--entry = {hash, 0};
    std::rotate(set.begin(), entry, entry + 1);
    return set.front().count++;
  }

 private:
  // With one entry a set, one long prompt's blocks would push out each other: of 40 blocks, two
  // meet in one of 4,096 places once in five times.
  static constexpr size_t kSets = 1024;
  static constexpr size_t kWays = 4;

  struct Entry {
    BlockHash hash;
    int32_t count = 0;
  };
  using Set = std::array<Entry, kWays>;  // the latest asked for first
  std::vector<Set> sets_;
};

}  // namespace spade
