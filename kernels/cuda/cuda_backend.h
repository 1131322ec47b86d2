#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cuda/batch_plan.h"
#include "kernels/cuda/cuda_logit_reader.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/graph_cache.h"
#include "kernels/cuda/signature.h"
#include "kernels/cuda/time_marks.h"
#include "kernels/cuda/weights.h"

namespace spade {

// The Backend on one NVIDIA GPU of compute capability 8.0 or newer, one stream: the thread's
// current device when it is made, and at every call. Operations are queued when they return;
// CopyToHost, HostView and Synchronize wait. Activations are F32, weights as cuda/weights.h says,
// caches F32 or BF16 as cuda/attention.h says.
//
// Batch invariance: norms, RoPE, attention and products of up to cuda::kDirectRows rows sum in one
// order per row. Products of more rows are cuBLAS's, whose order depends on the shape, and
// attention of long runs of rows is the tensor cores', whose bits are not the other kernels',
// unless `batch_invariant`: then all are the streaming kernels', to the bit the same for any batch
// and slow for a prefill.
class CudaBackend final : public Backend {
 public:
  // INVALID_ARGUMENT where there is no such GPU; RESOURCE_EXHAUSTED where scratch does not fit.
  static absl::StatusOr<std::unique_ptr<CudaBackend>> Create(const BackendOptions& options);
  ~CudaBackend() override;

  cudaStream_t stream() const { return stream_; }

  std::string_view name() const override { return "cuda"; }
  std::string description() const override;

  absl::StatusOr<Buffer> Allocate(size_t bytes) override;
  std::optional<int64_t> FreeMemory() const override;
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  void CopyFromHost(void* device, const void* host, size_t bytes) override;
  void Synchronize() override;
  const float* HostView(Tensor tensor) override;

  absl::StatusOr<Matrix> Pack(std::span<const HostMatrix> parts, DType dtype) override;
  void Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) override;
  void RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) override;
  void MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options, Tensor out) override;
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
  LogitReader* logit_reader() override { return &logit_reader_; }
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) override;

  // cuda_graphs.cc
  void RunRepeatable(int64_t rows, absl::FunctionRef<void()> operations) override;
  TimeMark MarkTime() override { return marks_.Mark(); }
  double ElapsedSeconds(TimeMark from, TimeMark to) override { return marks_.Elapsed(from, to); }

 private:
  // Those that may be repeated.
  enum class Operation : uint8_t {
    kRmsNorm,
    kMatMul,
    kRope,
    kStoreKv,
    kRopeAndStoreKv,
    kAttention,
    kTensorAttention,
    kStartSelfAttention,
    kSiluMul
  };
  struct PlannedBatch {
    explicit PlannedBatch(cudaStream_t stream) : courier(stream) {}
    cuda::BatchPlan plan;
    cuda::Courier courier;  // its list stays as long as the plan
    const int32_t* on_device = nullptr;
    std::span<const int32_t> positions;  // of the caller's last batch equal to the plan's
  };

  CudaBackend(const BackendOptions& options, int device, cudaStream_t stream);

  DType InputType(const Matrix& weight) const;
  bool IsDirect(int64_t rows, const Matrix& weight) const;
  void MultiplyWidened(Tensor x, const cuda::WeightView& weight, bool accumulate, Tensor out);
  void MultiplyRounded(Tensor x, DType type, const cuda::WeightView& weight, bool accumulate,
                       Tensor out);
  void PackPart(const HostMatrix& part, int64_t first_row, Matrix& matrix);
  // True, in the first of two calls of a repeatable run's operations: what shapes the operation's
  // launches is noted, and nothing is to be launched.
  template <class... Args>
  bool Notes(Operation operation, const Args&... args) {
    if (noted_ == nullptr) return false;
    noted_->Add(operation, args...);
    return true;
  }
  bool UsesTensorCores(const HeadLayout& heads, DType kv) const;
  bool IsPlanned(PlannedBatch& planned, const BatchView& batch,
                 const cuda::TilePolicy& policy) const;
  void PrepareBatch(const BatchView& batch, const HeadLayout& heads, DType kv);
  static cuda::RopeArgs RopeArgsOf(Tensor qkv, const HeadLayout& heads, const QkNorm& norm,
                                   Tensor angles);
  cuda::StoreKvArgs PlanStore(Tensor qkv, const HeadLayout& heads, const BatchView& batch,
                              KvView kv);
  const cuda::AttentionTile* TilesOf(const cuda::TileGroup& group) const;
  void Attend(const cuda::TileGroup& group, cuda::AttentionArgs args);
  cuda::Courier& NextCourier();

  const Compute compute_;
  const bool batch_invariant_;
  const int device_;
  const cudaStream_t stream_;
  std::string device_name_;
  int32_t num_processors_ = 1;
  ThreadPool pool_;
  std::unique_ptr<cuda::Gemm> gemm_;
  // Of one operation: converted weights, rounded rows, partial attention, or a part of a checkpoint
  // on its way.
  Buffer scratch_;
  Buffer unfit_flag_;  // of Pack: int32
  Buffer host_view_;   // pinned
  cuda::CudaLogitReader logit_reader_;
  // Lists of the operations: an operation's stays until as many others have gone.
  std::array<std::unique_ptr<cuda::Courier>, 8> couriers_;
  size_t next_courier_ = 0;
  std::array<PlannedBatch, 2> planned_;  // the pool's rows and the scratch's take turns
  PlannedBatch* planned_now_ = planned_.data();
  cuda::TimeMarks marks_;
  std::unique_ptr<cuda::GraphCache> graphs_;  // null: no graphs
  bool repeating_ = false;                    // within RunRepeatable
  cuda::Signature* noted_ = nullptr;          // its first call of the operations
};

}  // namespace spade
