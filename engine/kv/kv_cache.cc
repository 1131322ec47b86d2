#include "engine/kv/kv_cache.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
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
  if (std::ranges::find(kKvTypes, shape.dtype) == std::end(kKvTypes)) {
    return absl::InvalidArgumentError(absl::StrCat("kv_dtype: keys and values cannot be stored in ",
                                                   std::string(NameOf(shape.dtype)),
                                                   "; use f32 or bf16"));
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

absl::StatusOr<KvCache> KvCache::Create(Backend& backend, const KvShape& shape, int32_t num_blocks,
                                        int32_t num_scratch_blocks) {
  const absl::StatusOr<int64_t> total = TotalBytes(shape, num_blocks);
  if (!total.ok()) return total.status();
  const size_t bytes = static_cast<size_t>(*total / shape.num_layers / 2);

  KvCache cache;
  cache.shape_ = shape;
  cache.num_blocks_ = num_blocks;
  for (int32_t layer = 0; layer < shape.num_layers; ++layer) {
    if (absl::Status status = cache.AddView(backend, bytes, *total); !status.ok()) return status;
  }
  if (num_scratch_blocks > 0) {
    const int64_t scratch = shape.bytes_per_scratch_block() * num_scratch_blocks;
    const auto half = static_cast<size_t>(scratch / 2);
    if (absl::Status status = cache.AddView(backend, half, *total); !status.ok()) return status;
  }
  return cache;
}

absl::Status KvCache::AddView(Backend& backend, size_t bytes, int64_t total) {
  void* places[2];
  for (void*& place : places) {
    absl::StatusOr<Buffer> buffer = backend.Allocate(bytes);
    if (absl::IsResourceExhausted(buffer.status())) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the KV cache asks for ", total, " bytes (", num_blocks_, " blocks of ",
                       shape_.block_size, " positions, ", shape_.bytes_per_block(),
                       " bytes each), more than there are; lower --kv-memory (",
                       buffer.status().message(), ")"));
    }
    if (!buffer.ok()) return buffer.status();
    place = buffer->data();
    buffers_.push_back(*std::move(buffer));
  }
  views_.push_back(KvView{.keys = places[0],
                          .values = places[1],
                          .dtype = shape_.dtype,
                          .block_size = shape_.block_size});
  return absl::OkStatus();
}

}  // namespace spade
