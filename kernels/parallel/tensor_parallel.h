#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/backend.h"
#include "kernels/parallel/address_map.h"
#include "kernels/parallel/collective.h"

namespace spade {

// Several devices as one Backend, for tensor parallelism (Megatron's split): every operation runs
// on each shard, over that shard's part of the layers, and a product with a weight that is split by
// inputs ends in a sum over all shards. What is not split is the same to the bit on all of them.
// One thread drives all devices, as it would drive one.
//
// Addresses are those of the first shard; AddressMap knows the others'.
class TensorParallelBackend final : public Backend {
 public:
  // At least two shards, of one kind and with the same options.
  TensorParallelBackend(std::vector<std::unique_ptr<Backend>> shards,
                        std::unique_ptr<Collective> collective);
  ~TensorParallelBackend() override;

  std::string_view name() const override { return first().name(); }
  std::string description() const override;
  int32_t shards() const override { return static_cast<int32_t>(shards_.size()); }

  absl::StatusOr<Buffer> Allocate(size_t bytes) override;
  std::optional<int64_t> FreeMemory() const override;
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  void CopyFromHost(void* device, const void* host, size_t bytes) override;
  void CopySplitFromHost(void* device, const void* host, size_t bytes) override;
  void Synchronize() override;
  const float* HostView(Tensor tensor) override;

  absl::StatusOr<Matrix> Pack(std::span<const HostMatrix> parts, DType dtype) override;
  absl::StatusOr<Matrix> PackSplit(std::span<const HostMatrix> parts, DType dtype,
                                   Split split) override;
  void MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options, Tensor out) override;

  // As on each shard:
  void Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) override {
    OnEach(&Backend::Embed, table, ids, out);
  }
  void RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) override {
    OnEach(&Backend::RmsNorm, x, weight, epsilon, out);
  }
  void MatMulColumns(Tensor x, const Matrix& weight, std::span<const int32_t> ids,
                     Tensor out) override {
    OnEach(&Backend::MatMulColumns, x, weight, ids, out);
  }
  void RopeAngles(std::span<const int32_t> positions, std::span<const float> inv_freq,
                  Tensor angles) override {
    OnEach(&Backend::RopeAngles, positions, inv_freq, angles);
  }
  void Rope(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles) override {
    OnEach(&Backend::Rope, qkv, heads, norm, angles);
  }
  void StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv) override {
    OnEach(&Backend::StoreKv, qkv, heads, batch, kv);
  }
  void RopeAndStoreKv(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles,
                      const BatchView& batch, KvView kv) override {
    OnEach(&Backend::RopeAndStoreKv, qkv, heads, norm, angles, batch, kv);
  }
  void Attention(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv,
                 Tensor out) override {
    OnEach(&Backend::Attention, qkv, heads, batch, kv, out);
  }
  void StartSelfAttention(Tensor qkv, const HeadLayout& heads, StartView start,
                          Tensor out) override {
    OnEach(&Backend::StartSelfAttention, qkv, heads, start, out);
  }
  void SiluMul(Tensor gate_up, Tensor out) override { OnEach(&Backend::SiluMul, gate_up, out); }
  void GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) override {
    OnEach(&Backend::GatherRows, x, rows, out);
  }
  void CopyRows(Tensor x, std::span<const int32_t> from, std::span<const int32_t> to,
                Tensor out) override {
    OnEach(&Backend::CopyRows, x, from, to, out);
  }
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) override {
    first().ParallelFor(count, fn);
  }
  // Logits are whole on every shard, and their address is the first's.
  LogitReader* logit_reader() override { return first().logit_reader(); }
  // RunRepeatable stays Backend's: sums over shards are no part of a graph.
  TimeMark MarkTime() override { return first().MarkTime(); }
  double ElapsedSeconds(TimeMark from, TimeMark to) override {
    return first().ElapsedSeconds(from, to);
  }

 private:
  Backend& first() const { return *shards_.front(); }

  // fn(backend, shard) for each shard in turn.
  template <typename Fn>
  void ForEachShard(const Fn& fn) const {
    for (int32_t shard = 0; shard < shards(); ++shard) {
      collective_->Enter(shard);
      fn(*shards_[static_cast<size_t>(shard)], shard);
    }
    collective_->Enter(0);
  }

  template <typename T>
  static auto Same(T value) {
    return [value](int32_t) { return value; };
  }
  // Local(argument) is a function that gives what a shard gets for it. Types not listed do not
  // compile: whoever adds one says what it holds of the device's memory.
  auto Local(Tensor tensor) const {
    return [tensor, place = Find(tensor)](int32_t shard) {
      Tensor local = tensor;
      local.data = place.On(shard);
      return local;
    };
  }
  auto Local(const float* values) const {
    return [place = addresses_.Find(values, 0)](int32_t shard) {
      return static_cast<const float*>(place.On(shard));
    };
  }
  auto Local(const QkNorm& norm) const {
    return [q = Local(norm.q_weight), k = Local(norm.k_weight),
            epsilon = norm.epsilon](int32_t shard) {
      return QkNorm{q(shard), k(shard), epsilon};
    };
  }
  auto Local(StartView start) const {
    return [keys = Local(start.keys), values = Local(start.values)](int32_t shard) {
      return StartView{keys(shard), values(shard)};
    };
  }
  auto Local(const KvView& kv) const {
    return [kv, keys = addresses_.Find(kv.keys, 0),
            values = addresses_.Find(kv.values, 0)](int32_t shard) {
      return KvView{keys.On(shard), values.On(shard), kv.dtype, kv.block_size};
    };
  }
  auto Local(const MatMulOptions& options) const {
    return [options, bias = Local(options.bias)](int32_t shard) {
      return MatMulOptions{bias(shard), options.accumulate};
    };
  }
  auto Local(const Matrix& matrix) const {
    return [&matrix](int32_t shard) -> const Matrix& {
      return matrix.shards[static_cast<size_t>(shard)];
    };
  }
  // Host memory and numbers
  auto Local(float number) const { return Same(number); }
  auto Local(const HeadLayout& heads) const { return Same(heads); }
  auto Local(const BatchView& batch) const { return Same(batch); }
  template <typename T>
  auto Local(std::span<const T> list) const {
    return Same(list);
  }

  // The operation on each shard. An address is looked up once for all of them.
  template <typename... Params, typename... Args>
  void OnEach(void (Backend::*operation)(Params...), const Args&... args) const {
    const auto locals = std::make_tuple(Local(args)...);
    ForEachShard([&](Backend& backend, int32_t shard) {
      std::apply([&](const auto&... local) { (backend.*operation)(local(shard)...); }, locals);
    });
  }

  AddressMap::Place Find(const Tensor& tensor) const;
  template <typename PackShard>
  absl::StatusOr<Matrix> PackEach(Split split, const PackShard& pack) const;

  std::vector<std::unique_ptr<Backend>> shards_;
  std::unique_ptr<Collective> collective_;
  AddressMap addresses_;
  std::vector<float*> summands_;  // of the call; one a shard
};

}  // namespace spade
