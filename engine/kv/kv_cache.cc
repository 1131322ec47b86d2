#include "engine/kv/kv_cache.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace spade {
namespace {

// The whole cache's bytes; INVALID_ARGUMENT where no such cache can be.
absl::StatusOr<int64_t> TotalBytes(const KvShape& shape, int32_t num_blocks) {
  if (shape.num_layers <= 0 || shape.num_kv_heads <= 0 || shape.head_dim <= 0 ||
      shape.block_size <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the KV cache's shape has an empty dimension: ", shape.num_layers, " layers, ",
                     shape.num_kv_heads, " KV heads, head size ", shape.head_dim, ", block size ",
                     shape.block_size));
  }
  int64_t bytes = 2 * static_cast<int64_t>(SizeOf(shape.dtype));
  for (const int32_t factor :
       {shape.num_layers, shape.num_kv_heads, shape.head_dim, shape.block_size}) {
    if (__builtin_mul_overflow(bytes, int64_t{factor}, &bytes)) {
      return absl::InvalidArgumentError("one block of the KV cache exceeds 2^63 bytes");
    }
  }
  if (num_blocks <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the KV cache's memory holds no block: one block of ", shape.block_size,
                     " positions takes ", bytes, " bytes; raise --kv-memory"));
  }
  if (__builtin_mul_overflow(bytes, int64_t{num_blocks}, &bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a KV cache of ", num_blocks, " blocks exceeds 2^63 bytes; lower --kv-memory"));
  }
  return bytes;
}

}  // namespace

absl::StatusOr<KvCache> KvCache::Create(Backend& backend, const KvShape& shape,
                                        int32_t num_blocks) {
  const absl::StatusOr<int64_t> total = TotalBytes(shape, num_blocks);
  if (!total.ok()) return total.status();
  const size_t bytes = static_cast<size_t>(*total / shape.num_layers / 2);

  KvCache cache;
  cache.shape_ = shape;
  cache.num_blocks_ = num_blocks;
  for (int32_t i = 0; i < 2 * shape.num_layers; ++i) {
    absl::StatusOr<Buffer> buffer = backend.Allocate(bytes);
    if (absl::IsResourceExhausted(buffer.status())) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the KV cache asks for ", *total, " bytes (", num_blocks, " blocks of ",
                       shape.block_size, " positions, ", shape.bytes_per_block(),
                       " bytes each), more than there are; lower --kv-memory (",
                       buffer.status().message(), ")"));
    }
    if (!buffer.ok()) return buffer.status();
    cache.buffers_.push_back(*std::move(buffer));
  }
  for (size_t layer = 0; layer < static_cast<size_t>(shape.num_layers); ++layer) {
    cache.views_.push_back(KvView{.keys = cache.buffers_[2 * layer].data(),
                                  .values = cache.buffers_[2 * layer + 1].data(),
                                  .dtype = shape.dtype,
                                  .block_size = shape.block_size});
  }
  return cache;
}

}  // namespace spade
