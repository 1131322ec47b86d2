#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/buffer.h"

namespace spade {

// `bytes` of zeroed, touched memory aligned to 64 bytes; large allocations on huge pages where the
// system grants them. RESOURCE_EXHAUSTED when the system refuses.
absl::StatusOr<Buffer> AllocateAligned(size_t bytes);

// Allocations of all sizes side by side, so that small ones lie on huge pages too, and what is
// allocated in turn is read as one stream. Their memory is freed with the arena, which outlives
// them. Not thread-safe.
class Arena {
 public:
  // As AllocateAligned.
  absl::StatusOr<Buffer> Allocate(size_t bytes);

 private:
  std::vector<Buffer> chunks_;
  size_t used_ = 0;  // of the last chunk
};

// Working memory that only grows. Not thread-safe.
class Scratch {
 public:
  // At least `floats` floats, aligned to 64 bytes; the content is lost when it grows. Memory that
  // small running out is fatal.
  float* Reserve(int64_t floats);

 private:
  Buffer buffer_;
};

}  // namespace spade
