#include "kernels/cpu/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace spade {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMaxChunk = 8 * kHugePage;

}  // namespace

absl::StatusOr<Buffer> AllocateAligned(size_t bytes) {
  if (bytes == 0) return Buffer();
  const size_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
  void* data = nullptr;
  if (bytes < std::numeric_limits<size_t>::max() / 2) {
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    data = std::aligned_alloc(alignment, rounded);
  }
  if (data == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "cannot allocate ", bytes, " bytes of host memory; use a smaller KV cache or model"));
  }
  // A streamed weight matrix touches each 4 KiB page once; with huge pages the TLB keeps up.
  // Refusal is harmless.
  if (alignment == kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
  std::memset(data, 0, bytes);
  return Buffer(data, bytes, [](void* memory, size_t) { std::free(memory); });
}

absl::StatusOr<Buffer> Arena::Allocate(size_t bytes) {
  if (bytes == 0) return Buffer();
  if (chunks_.empty() || bytes > chunks_.back().size() - used_) {
    // Small models take little, and of a large one's last chunk little is lost.
    const size_t wanted = std::min(kMaxChunk, kHugePage << std::min<size_t>(chunks_.size(), 3));
    absl::StatusOr<Buffer> chunk = AllocateAligned(std::max(bytes, wanted));
    if (!chunk.ok()) return chunk.status();
    chunks_.push_back(*std::move(chunk));
    used_ = 0;
  }
  void* data = static_cast<std::byte*>(chunks_.back().data()) + used_;
  used_ =
      std::min(chunks_.back().size(), (used_ + bytes + kCacheLine - 1) / kCacheLine * kCacheLine);
  return Buffer(data, bytes, [](void*, size_t) {});
}

float* Scratch::Reserve(int64_t floats) {
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  if (bytes > buffer_.size()) {
    absl::StatusOr<Buffer> grown = AllocateAligned(bytes + bytes / 2);
    SPADE_CHECK(grown.ok());
    buffer_ = *std::move(grown);
  }
  return static_cast<float*>(buffer_.data());
}

}  // namespace spade
