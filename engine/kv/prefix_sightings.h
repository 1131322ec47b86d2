#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/kv/block_pool.h"

namespace spade {

// Remembers which blocks were asked for that the prefix cache does not have: where answers leave
// early, nobody computes them to full depth, so that somebody must be told to. A table of fixed
// size; a newer block takes the place of an older one. Not thread-safe: owned by the scheduler.
class PrefixSightings {
 public:
  PrefixSightings() : entries_(kEntries) {}

  // Counts the block; how often it was seen before, as far as is remembered.
  int32_t Count(const BlockHash& hash) {
    Entry& entry = entries_[hash.low % kEntries];
    if (entry.hash != hash) entry = {hash, 0};
    return entry.count++;
  }

 private:
  static constexpr size_t kEntries = 4096;

  struct Entry {
    BlockHash hash;
    int32_t count = 0;
  };
  std::vector<Entry> entries_;
};

}  // namespace spade
