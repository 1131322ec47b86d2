#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/types.h"

namespace spade {

using BlockId = int32_t;

// Identity of a full block's content: a hash over the cache salt and every token from position 0 to
// the block's end. 128 bits, keyed per process, so that collisions cannot be made on purpose.
struct BlockHash {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const BlockHash&, const BlockHash&) = default;
};

// Hash of the next full block after `parent` (the root hash of the salt for the first block).
class BlockHasher {
 public:
  // The keys are secret, drawn at random once a process.
  BlockHasher(uint64_t key0, uint64_t key1) : key0_(key0), key1_(key1) {}
  BlockHash Root(std::string_view salt) const;
  BlockHash Next(const BlockHash& parent, std::span<const TokenId> block_tokens) const;

 private:
  uint64_t key0_;
  uint64_t key1_;
};

// Ids of KV blocks: free list, reference counts and the prefix cache. It knows no tensor and no
// request. A block is free (no content), in use (references > 0) or cached (no references, content
// still valid, found by hash, evicted least recently used first when an id is needed).
// Every operation is O(1) (DropCache: O(blocks)), and only the constructor allocates.
// Not thread-safe: owned by the engine's loop.
class BlockPool {
 public:
  explicit BlockPool(int32_t num_blocks);

  int32_t num_blocks() const { return static_cast<int32_t>(entries_.size()); }
  int32_t num_available() const { return num_free() + num_cached_; }  // what Allocate can hand out
  int32_t num_in_use() const { return num_blocks() - num_available(); }
  int32_t num_cached() const { return num_cached_; }

  // A block with one reference; its content is undefined. nullopt when none is available.
  std::optional<BlockId> Allocate();
  void AddReference(BlockId block);
  // Drops one reference; the last one makes the block cached (if published) or free. Release a
  // sequence's blocks last to first: a prefix is then evicted from its end.
  void Release(BlockId block);

  // Makes an in-use block, whose content is complete at every stage, findable. No effect if the
  // hash is known already.
  void Publish(BlockId block, const BlockHash& hash);
  // The block with this content, one reference added; nullopt if there is none.
  std::optional<BlockId> Find(const BlockHash& hash);
  // Forgets all cached content (blocks in use stay, but are no longer findable).
  void DropCache();

 private:
  static constexpr BlockId kNone = -1;

  struct Entry {
    int32_t references = 0;
    bool published = false;
    BlockHash hash;
    // Doubly linked list of cached blocks in order of last release.
    BlockId previous = kNone;
    BlockId next = kNone;
    // Chain of published blocks with the same bucket.
    BlockId next_in_bucket = kNone;
  };

  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }
  Entry& entry(BlockId block) { return entries_[static_cast<size_t>(block)]; }
  BlockId& bucket(const BlockHash& hash) { return buckets_[hash.low & (buckets_.size() - 1)]; }
  BlockId Lookup(const BlockHash& hash);
  void Unpublish(BlockId block);
  void LinkNewest(BlockId block);
  void Unlink(BlockId block);

  std::vector<Entry> entries_;
  std::vector<BlockId> free_;
  std::vector<BlockId> buckets_;  // first block of each chain; their number is a power of two
  BlockId oldest_ = kNone;
  BlockId newest_ = kNone;
  int32_t num_cached_ = 0;
};

}  // namespace spade
