#include "kernels/parallel/tensor_parallel.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace spade {
namespace {

// The share-th of `shares` runs of rows.
HostMatrix RowsOf(const HostMatrix& part, int32_t shares, int32_t share) {
  SPADE_CHECK(part.rows % shares == 0);
  HostMatrix rows = part;
  rows.rows /= shares;
  const auto first = static_cast<size_t>(rows.rows * share * part.cols);
  rows.data = static_cast<const std::byte*>(part.data) + first * SizeOf(part.dtype);
  return rows;
}

// The share-th of `shares` runs of columns, copied to `storage`.
HostMatrix ColumnsOf(const HostMatrix& part, int32_t shares, int32_t share,
                     std::vector<std::byte>& storage) {
  SPADE_CHECK(part.cols % shares == 0);
  HostMatrix columns = part;
  columns.cols /= shares;
  const size_t run = static_cast<size_t>(columns.cols) * SizeOf(part.dtype);
  storage.resize(run * static_cast<size_t>(part.rows));
  const auto* from = static_cast<const std::byte*>(part.data) + run * static_cast<size_t>(share);
  for (int64_t row = 0; row < part.rows; ++row) {
    std::memcpy(storage.data() + static_cast<size_t>(row) * run,
                from + static_cast<size_t>(row) * run * static_cast<size_t>(shares), run);
  }
  columns.data = storage.data();
  return columns;
}

}  // namespace

TensorParallelBackend::TensorParallelBackend(std::vector<std::unique_ptr<Backend>> shards,
                                             std::unique_ptr<Collective> collective)
    : shards_(std::move(shards)), collective_(std::move(collective)), summands_(shards_.size()) {
  SPADE_CHECK(shards_.size() > 1);
}

// What connects the devices goes before them.
TensorParallelBackend::~TensorParallelBackend() {
  Synchronize();
  SPADE_CHECK(addresses_.size() == 0);  // a Buffer that outlives its backend
  collective_.reset();
}

std::string TensorParallelBackend::description() const {
  return absl::StrCat(first().description(), ", tensor-parallel over ", shards());
}

absl::StatusOr<Buffer> TensorParallelBackend::Allocate(size_t bytes) {
  if (bytes == 0) return Buffer();
  std::vector<Buffer> twins;
  absl::Status status;
  ForEachShard([&](Backend& backend, int32_t) {
    if (!status.ok()) return;
    absl::StatusOr<Buffer> buffer = backend.Allocate(bytes);
    status = buffer.status();
    if (status.ok()) twins.push_back(*std::move(buffer));
  });
  if (!status.ok()) return status;
  return addresses_.Add(std::move(twins));
}

std::optional<int64_t> TensorParallelBackend::FreeMemory() const {
  std::optional<int64_t> least;
  ForEachShard([&](const Backend& backend, int32_t) {
    const std::optional<int64_t> free = backend.FreeMemory();
    if (free.has_value()) least = std::min(*free, least.value_or(*free));
  });
  return least;
}

void TensorParallelBackend::CopyToHost(void* host, const void* device, size_t bytes) {
  first().CopyToHost(host, device, bytes);
}

const float* TensorParallelBackend::HostView(Tensor tensor) { return first().HostView(tensor); }

void TensorParallelBackend::CopyFromHost(void* device, const void* host, size_t bytes) {
  const AddressMap::Place place = addresses_.Find(device, bytes);
  ForEachShard(
      [&](Backend& backend, int32_t shard) { backend.CopyFromHost(place.On(shard), host, bytes); });
}

void TensorParallelBackend::CopySplitFromHost(void* device, const void* host, size_t bytes) {
  const AddressMap::Place place = addresses_.Find(device, bytes);
  ForEachShard([&](Backend& backend, int32_t shard) {
    const size_t offset = bytes * static_cast<size_t>(shard);
    backend.CopyFromHost(place.On(shard), static_cast<const std::byte*>(host) + offset, bytes);
  });
}

void TensorParallelBackend::Synchronize() {
  ForEachShard([](Backend& backend, int32_t) { backend.Synchronize(); });
}

template <typename PackShard>
absl::StatusOr<Matrix> TensorParallelBackend::PackEach(Split split, const PackShard& pack) const {
  Matrix whole;
  absl::Status status;
  ForEachShard([&](Backend& backend, int32_t shard) {
    if (!status.ok()) return;
    absl::StatusOr<Matrix> matrix = pack(backend, shard);
    status = matrix.status();
    if (status.ok()) whole.shards.push_back(*std::move(matrix));
  });
  if (!status.ok()) return status;
  whole.out_features = whole.shards.front().out_features;
  whole.in_features = whole.shards.front().in_features;
  whole.dtype = whole.shards.front().dtype;
  whole.split = split;
  return whole;
}

absl::StatusOr<Matrix> TensorParallelBackend::Pack(std::span<const HostMatrix> parts, DType dtype) {
  return PackEach(Split::kNone,
                  [&](Backend& backend, int32_t) { return backend.Pack(parts, dtype); });
}

absl::StatusOr<Matrix> TensorParallelBackend::PackSplit(std::span<const HostMatrix> parts,
                                                        DType dtype, Split split) {
  if (split == Split::kNone) return Pack(parts, dtype);
  return PackEach(split, [&](Backend& backend, int32_t shard) {
    std::vector<HostMatrix> local;
    std::vector<std::vector<std::byte>> storage(parts.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      local.push_back(split == Split::kOutputs ? RowsOf(parts[i], shards(), shard)
                                               : ColumnsOf(parts[i], shards(), shard, storage[i]));
    }
    return backend.Pack(local, dtype);
  });
}

// With a weight split by inputs the first shard alone takes the bias and what `out` held; then the
// shards' sums are added up, in place.
void TensorParallelBackend::MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options,
                                   Tensor out) {
  if (weight.split != Split::kInputs) return OnEach(&Backend::MatMul, x, weight, options, out);
  SPADE_CHECK(out.dtype == DType::kF32);
  const auto local_x = Local(x);
  const auto local_out = Local(out);
  ForEachShard([&](Backend& backend, int32_t shard) {
    const Tensor sums = local_out(shard);
    backend.MatMul(local_x(shard), weight.shards[static_cast<size_t>(shard)],
                   shard == 0 ? options : MatMulOptions{}, sums);
    summands_[static_cast<size_t>(shard)] = static_cast<float*>(sums.data);
  });
  if (out.rows > 0) collective_->AllReduce(summands_, out.rows * out.cols);
}

// An empty tensor may lie behind the end of its memory.
AddressMap::Place TensorParallelBackend::Find(const Tensor& tensor) const {
  return addresses_.Find(tensor.bytes() > 0 ? tensor.data : nullptr, tensor.bytes());
}

}  // namespace spade
