#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/buffer.h"

namespace spade {

// Which addresses of several devices stand for one another: allocations of the same size, made
// together, of which callers see the first device's. Not thread-safe.
class AddressMap {
 public:
  // A place in each device's memory; null is null on all.
  class Place {
   public:
    void* On(int32_t shard) const {
      if (shard == 0 || twins_ == nullptr) return first_;
      return static_cast<std::byte*>((*twins_)[static_cast<size_t>(shard)].data()) + offset_;
    }

   private:
    friend class AddressMap;
    void* first_ = nullptr;
    const std::vector<Buffer>* twins_ = nullptr;
    size_t offset_ = 0;
  };

  // Takes one buffer a device, of one size that is not zero. The first's address and size; letting
  // go of it frees them all, which must be while the map lives.
  Buffer Add(std::vector<Buffer> twins);

  // Of `bytes` bytes from `address` on, which lie in one allocation; another address is our bug.
  Place Find(const void* address, size_t bytes) const;

  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    const std::byte* begin = nullptr;
    const std::byte* end = nullptr;
    std::unique_ptr<const std::vector<Buffer>> twins;  // stays where it is
  };
  void Remove(const void* begin);

  std::vector<Entry> entries_;  // ascending
};

}  // namespace spade
