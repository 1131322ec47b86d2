#pragma once

#include <memory>

#include "kernels/backend.h"

namespace spade::bench {

// A backend that notes how long another one's operations take. ParallelFor, the host's own work,
// does not count.
class TimedBackend final : public Backend {
 public:
  explicit TimedBackend(std::unique_ptr<Backend> backend);

  // Of all operations so far. On the thread that calls them.
  double seconds() const { return seconds_; }
  int64_t operations() const { return operations_; }
  // What noting one operation adds to the time outside of it.
  static double NotingSeconds();

  std::string_view name() const override { return backend_->name(); }
  std::string description() const override { return backend_->description(); }
  int32_t shards() const override { return backend_->shards(); }
  absl::StatusOr<Buffer> Allocate(size_t bytes) override { return backend_->Allocate(bytes); }
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  void CopyFromHost(void* device, const void* host, size_t bytes) override;
  void CopySplitFromHost(void* device, const void* host, size_t bytes) override {
    backend_->CopySplitFromHost(device, host, bytes);
  }
  void Synchronize() override;
  const float* HostView(Tensor tensor) override { return backend_->HostView(tensor); }
  absl::StatusOr<Matrix> Pack(std::span<const HostMatrix> parts, DType dtype) override {
    return backend_->Pack(parts, dtype);
  }
  absl::StatusOr<Matrix> PackSplit(std::span<const HostMatrix> parts, DType dtype,
                                   Split split) override {
    return backend_->PackSplit(parts, dtype, split);
  }
  void Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) override;
  void RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) override;
  void MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options, Tensor out) override;
  void NormMatMul(Tensor x, const RowNorm& norm, const Matrix& weight, const float* bias,
                  Tensor normed, Tensor out) override;
  void NormGateUp(Tensor x, const RowNorm& norm, const Matrix& weight, const float* bias,
                  Tensor normed, Tensor gate_up, Tensor gated) override;
  void MatMulColumns(Tensor x, const Matrix& weight, std::span<const int32_t> ids,
                     Tensor out) override;
  void RopeAngles(std::span<const int32_t> positions, std::span<const float> inv_freq,
                  Tensor angles) override;
  void Rope(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles) override;
  void StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv) override;
  void RopeAndStoreKv(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles,
                      const BatchView& batch, KvView kv) override;
  void Attention(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv,
                 Tensor out) override;
  void StartSelfAttention(Tensor qkv, const HeadLayout& heads, StartView start,
                          Tensor out) override;
  void SiluMul(Tensor gate_up, Tensor out) override;
  void GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) override;
  void CopyRows(Tensor x, std::span<const int32_t> from, std::span<const int32_t> to,
                Tensor out) override;
  LogitReader* logit_reader() override { return backend_->logit_reader(); }
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) override {
    backend_->ParallelFor(count, fn);
  }
  TimeMark MarkTime() override { return backend_->MarkTime(); }
  double ElapsedSeconds(TimeMark from, TimeMark to) override {
    return backend_->ElapsedSeconds(from, to);
  }

 private:
  template <typename Operation>
  void Note(const Operation& operation);

  std::unique_ptr<Backend> backend_;
  double seconds_ = 0;
  int64_t operations_ = 0;
};

}  // namespace spade::bench
