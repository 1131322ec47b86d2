#include "kernels/parallel/address_map.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "kernels/check.h"

namespace spade {

Buffer AddressMap::Add(std::vector<Buffer> twins) {
  SPADE_CHECK(!twins.empty() && twins[0].size() > 0);
  void* const data = twins[0].data();
  const size_t size = twins[0].size();
  for (const Buffer& twin : twins) SPADE_CHECK(twin.size() == size);
  const auto* begin = static_cast<const std::byte*>(data);
  const auto after = std::ranges::upper_bound(entries_, begin, std::less<>(), &Entry::begin);
  entries_.insert(after, Entry{begin, begin + size,
                               std::make_unique<const std::vector<Buffer>>(std::move(twins))});
  return Buffer(data, size, std::shared_ptr<void>(data, [this](void* gone) { Remove(gone); }));
}

void AddressMap::Remove(const void* begin) {
  const auto entry = std::ranges::find(entries_, begin, &Entry::begin);
  SPADE_CHECK(entry != entries_.end());
  entries_.erase(entry);
}

AddressMap::Place AddressMap::Find(const void* address, size_t bytes) const {
  Place place;
  place.first_ = const_cast<void*>(address);  // as const as the caller makes it
  if (address == nullptr) return place;
  const auto* at = static_cast<const std::byte*>(address);
  const auto after = std::ranges::upper_bound(entries_, at, std::less<>(), &Entry::begin);
  SPADE_CHECK(after != entries_.begin());
  const Entry& entry = *std::prev(after);
  SPADE_CHECK(at < entry.end && bytes <= static_cast<size_t>(entry.end - at));
  place.twins_ = entry.twins.get();
  place.offset_ = static_cast<size_t>(at - entry.begin);
  return place;
}

}  // namespace spade
