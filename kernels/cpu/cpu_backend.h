#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/backend.h"
#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/thread_pool.h"

namespace spade {

// The Backend on the host's cores. Activations are F32, weights as packed_matrix.h says, caches F32
// or BF16. Operations are done when they return.
class CpuBackend final : public Backend {
 public:
  CpuBackend(Isa isa, Compute compute, int32_t num_threads, bool pin_threads);

  std::string_view name() const override { return "cpu"; }
  std::string description() const override;

  absl::StatusOr<Buffer> Allocate(size_t bytes) override;
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  void CopyFromHost(void* device, const void* host, size_t bytes) override;
  void Synchronize() override {}
  const float* HostView(Tensor tensor) override { return static_cast<const float*>(tensor.data); }

  absl::StatusOr<Matrix> Pack(std::span<const HostMatrix> parts, DType dtype) override;
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
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) override;

 private:
  // Calls fn for each row in [0, rows): on this thread where rows * row_cost is small.
  void ForEachRow(int64_t rows, int64_t row_cost, absl::FunctionRef<void(int64_t)> fn);
  // Rows that a product is to normalise, to its own x.
  struct PendingNorm {
    Tensor x;
    const RowNorm& norm;
    Tensor normed;
  };

  void Normalise(const PendingNorm& pending, Range rows);
  // The product by the kernels for its type, x rounded before it where they do not. `pending`: null
  // where x is there.
  void Multiply(MatMulArgs args, const PendingNorm* pending = nullptr);
  // Those on words of x that suit the weight's type; null: there are none.
  const MatMulKernels* WordKernelsFor(const PackedMatrix& weight) const;
  void MultiplyDirect(const MatMulKernels& kernels, const MatMulArgs& args);
  void MultiplyTiled(const MatMulKernels& kernels, const MatMulArgs& args,
                     const PendingNorm* pending);
  const float* RoundToBF16(const MatMulArgs& args);
  void RopeRow(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles, int64_t row);
  const AttentionKernels& AttentionOf(const HeadLayout& heads, const KvView& kv) const;
  void PlanTiles(const AttentionArgs& args);

  const Isa isa_;
  const Compute compute_;
  const MatMulKernels& matmul_;
  const MatMulKernels* bf16_matmul_;  // null: the processor has none
  const MatMulKernels& int8_matmul_;
  const RowKernels& row_;
  const AttentionKernels& attention_;
  const AttentionKernels* bf16_attention_;  // null: the processor has none, or products are in F32
  ThreadPool pool_;
  Arena weights_;  // of all matrices
  Scratch packed_rows_;
  Scratch rounded_rows_;
  std::vector<Scratch> worker_scratch_;  // one per worker
  std::vector<AttentionTile> tiles_;     // of the call; kept for its capacity
};

}  // namespace spade
