#include "engine/kv/block_pool.h"

#include <algorithm>
#include <bit>

#include "kernels/check.h"

namespace spade {

BlockPool::BlockPool(int32_t num_blocks)
    : entries_(static_cast<size_t>(num_blocks)),
      buckets_(std::bit_ceil(static_cast<size_t>(std::max(num_blocks, 1)) * 2), kNone) {
  SPADE_CHECK(num_blocks >= 0);
  free_.reserve(entries_.size());
  // Low ids are handed out first.
  for (BlockId block = num_blocks - 1; block >= 0; --block) free_.push_back(block);
}

std::optional<BlockId> BlockPool::Allocate() {
  BlockId block = kNone;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (oldest_ != kNone) {
    block = oldest_;
    Unlink(block);
    Unpublish(block);
  } else {
    return std::nullopt;
  }
  entry(block).references = 1;
  return block;
}

void BlockPool::AddReference(BlockId block) {
  SPADE_CHECK(entry(block).references > 0);
  ++entry(block).references;
}

void BlockPool::Release(BlockId block) {
  Entry& released = entry(block);
  SPADE_CHECK(released.references > 0);
  if (--released.references > 0) return;
  if (released.published) {
    LinkNewest(block);
  } else {
    free_.push_back(block);
  }
}

void BlockPool::Publish(BlockId block, const BlockHash& hash) {
  Entry& published = entry(block);
  SPADE_CHECK(published.references > 0);
  if (published.published || Lookup(hash) != kNone) return;
  published.published = true;
  published.hash = hash;
  published.next_in_bucket = bucket(hash);
  bucket(hash) = block;
}

std::optional<BlockId> BlockPool::Find(const BlockHash& hash) {
  const BlockId block = Lookup(hash);
  if (block == kNone) return std::nullopt;
  if (entry(block).references == 0) Unlink(block);
  ++entry(block).references;
  return block;
}

void BlockPool::DropCache() {
  while (oldest_ != kNone) {
    const BlockId block = oldest_;
    Unlink(block);
    free_.push_back(block);
  }
  for (Entry& forgotten : entries_) forgotten.published = false;
  std::fill(buckets_.begin(), buckets_.end(), kNone);
}

BlockId BlockPool::Lookup(const BlockHash& hash) {
  BlockId block = bucket(hash);
  while (block != kNone && entry(block).hash != hash) block = entry(block).next_in_bucket;
  return block;
}

void BlockPool::Unpublish(BlockId block) {
  BlockId* link = &bucket(entry(block).hash);
  while (*link != block) link = &entry(*link).next_in_bucket;
  *link = entry(block).next_in_bucket;
  entry(block).published = false;
}

void BlockPool::LinkNewest(BlockId block) {
  entry(block).previous = newest_;
  entry(block).next = kNone;
  (newest_ == kNone ? oldest_ : entry(newest_).next) = block;
  newest_ = block;
  ++num_cached_;
}

void BlockPool::Unlink(BlockId block) {
  const Entry& unlinked = entry(block);
  (unlinked.previous == kNone ? oldest_ : entry(unlinked.previous).next) = unlinked.next;
  (unlinked.next == kNone ? newest_ : entry(unlinked.next).previous) = unlinked.previous;
  --num_cached_;
}

}  // namespace spade
