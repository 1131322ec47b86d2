#include "kernels/cpu/memory.h"

#include <sys/mman.h>

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
