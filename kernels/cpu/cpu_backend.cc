#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/cpu_work.h"
#include "kernels/cpu/packed_matrix.h"

namespace spade {
namespace {

// Cost of an element, in multiply-adds (cpu_work.h has those of products).
constexpr int64_t kRotateCost = 4;
constexpr int64_t kExpCost = 8;
constexpr int64_t kTrigonometryCost = 50;
constexpr int64_t kGatherCost = 8;      // a cache line each
constexpr int64_t kColdStoreCost = 64;  // a cache line each, from memory and back

void CheckRope(const Tensor& qkv, const HeadLayout& heads, const Tensor& angles) {
  SPADE_CHECK(qkv.cols == heads.qkv_cols() && angles.cols == heads.head_dim);
  SPADE_CHECK(qkv.rows == angles.rows && heads.head_dim % 8 == 0);
}

AttentionArgs StoreArgs(const Tensor& qkv, const HeadLayout& heads, const BatchView& batch,
                        const KvView& kv) {
  SPADE_CHECK(qkv.rows == batch.rows() && qkv.cols == heads.qkv_cols());
  SPADE_CHECK(kv.dtype == DType::kF32 || kv.dtype == DType::kBF16);
  return {.qkv = static_cast<const float*>(qkv.data), .heads = heads, .batch = batch, .kv = kv};
}

}  // namespace

CpuBackend::CpuBackend(Isa isa, Compute compute, int32_t num_threads, bool pin_threads)
    : isa_(isa),
      compute_(compute),
      matmul_(GetMatMulKernels(isa)),
      bf16_matmul_(GetBF16MatMulKernels(isa)),
      int8_matmul_(GetInt8MatMulKernels(isa)),
      row_(GetRowKernels(isa)),
      attention_(GetAttentionKernels(isa)),
      bf16_attention_(compute == Compute::kF32 ? nullptr : GetBF16AttentionKernels(isa)),
      pool_(num_threads, pin_threads),
      worker_scratch_(pool_.num_threads()) {
  for (Scratch& scratch : worker_scratch_) scratch.Reserve(kTiledScratch);
}

std::string CpuBackend::description() const {
  return absl::StrCat("cpu, ", std::string(NameOf(isa_)), ", ", std::string(NameOf(compute_)),
                      " products, ", pool_.num_threads(), " threads");
}

absl::StatusOr<Buffer> CpuBackend::Allocate(size_t bytes) { return AllocateAligned(bytes); }

void CpuBackend::CopyToHost(void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void CpuBackend::CopyFromHost(void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

absl::StatusOr<Matrix> CpuBackend::Pack(std::span<const HostMatrix> parts, DType dtype) {
  return PackMatrix(parts, dtype, compute_, weights_, pool_);
}

void CpuBackend::ForEachRow(int64_t rows, int64_t row_cost, absl::FunctionRef<void(int64_t)> fn) {
  if (rows * row_cost < kMinParallelWork) {
    for (int64_t row = 0; row < rows; ++row) fn(row);
    return;
  }
  const int64_t tasks = std::min(rows, kTasksPerThread * pool_.num_threads());
  pool_.Run(tasks, [&](int64_t task, int32_t) {
    const Range part = Part(rows, tasks, task);
    for (int64_t row = part.begin; row < part.end; ++row) fn(row);
  });
}

void CpuBackend::Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) {
  SPADE_CHECK(out.rows == std::ssize(ids) && out.cols == table.in_features);
  const PackedMatrix packed(table, compute_);
  ForEachRow(out.rows, out.cols * kGatherCost, [&](int64_t row) {
    SPADE_CHECK(ids[row] >= 0 && ids[row] < packed.out_features);
    float* to = out.F32Row(row);
    for (int64_t i = 0; i < out.cols; ++i) to[i] = WeightAt(packed, ids[row], i);
  });
}

void CpuBackend::RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) {
  SPADE_CHECK(x.rows == out.rows && x.cols == out.cols);
  ForEachRow(x.rows, x.cols * kNormCost, [&](int64_t row) {
    row_.rms_norm(x.F32Row(row), weight, epsilon, x.cols, out.F32Row(row));
  });
}

void CpuBackend::RopeAngles(std::span<const int32_t> positions, std::span<const float> inv_freq,
                            Tensor angles) {
  const int64_t half = std::ssize(inv_freq);
  SPADE_CHECK(angles.rows == std::ssize(positions) && angles.cols == 2 * half);
  ForEachRow(angles.rows, half * kTrigonometryCost, [&](int64_t row) {
    float* to = angles.F32Row(row);
    for (int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(positions[row]) * inv_freq[i];
      to[i] = std::cos(angle);
      to[half + i] = std::sin(angle);
    }
  });
}

void CpuBackend::Rope(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles) {
  CheckRope(qkv, heads, angles);
  ForEachRow(qkv.rows, qkv.cols * kRotateCost,
             [&](int64_t row) { RopeRow(qkv, heads, norm, angles, row); });
}

void CpuBackend::RopeRow(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles,
                         int64_t row) {
  float* head = qkv.F32Row(row);
  for (int32_t i = 0; i < heads.q_heads + heads.kv_heads; ++i, head += heads.head_dim) {
    const float* weight = i < heads.q_heads ? norm.q_weight : norm.k_weight;
    row_.rope(head, heads.head_dim, weight, norm.epsilon, angles.F32Row(row));
  }
}

// A row's keys are stored while they are in the cache of the core that turned them.
void CpuBackend::RopeAndStoreKv(Tensor qkv, const HeadLayout& heads, const QkNorm& norm,
                                Tensor angles, const BatchView& batch, KvView kv) {
  CheckRope(qkv, heads, angles);
  const AttentionArgs args = StoreArgs(qkv, heads, batch, kv);
  const AttentionKernels& attention = AttentionOf(heads, kv);
  const int64_t cost = qkv.cols * kRotateCost + heads.kv_cols() * kColdStoreCost;
  ForEachRow(qkv.rows, cost, [&](int64_t row) {
    RopeRow(qkv, heads, norm, angles, row);
    attention.store(args, row);
  });
}

void CpuBackend::StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv) {
  const AttentionArgs args = StoreArgs(qkv, heads, batch, kv);
  const AttentionKernels& attention = AttentionOf(heads, kv);
  ForEachRow(qkv.rows, heads.kv_cols() * kColdStoreCost,
             [&](int64_t row) { attention.store(args, row); });
}

const AttentionKernels& CpuBackend::AttentionOf(const HeadLayout& heads, const KvView& kv) const {
  return bf16_attention_ != nullptr && PairsSuit(heads, kv) ? *bf16_attention_ : attention_;
}

// One tile per KV head and run of neighbouring rows of a sequence.
void CpuBackend::PlanTiles(const AttentionArgs& args) {
  const BatchView& batch = args.batch;
  const int64_t rows_per_tile = std::max<int64_t>(1, kTileQueries / args.queries_per_kv());
  tiles_.clear();
  for (int64_t row = 0; row < batch.rows();) {
    int64_t end = row + 1;
    while (end < batch.rows() && end - row < rows_per_tile &&
           batch.sequences[end] == batch.sequences[row]) {
      ++end;
    }
    for (int32_t head = 0; head < args.heads.kv_heads; ++head) {
      tiles_.push_back({row, end - row, head});
    }
    row = end;
  }
}

void CpuBackend::Attention(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv,
                           Tensor out) {
  SPADE_CHECK(qkv.rows == batch.rows() && qkv.cols == heads.qkv_cols());
  SPADE_CHECK(out.rows == qkv.rows && out.cols == heads.q_cols());
  SPADE_CHECK(heads.head_dim % 8 == 0 && heads.head_dim <= kMaxHeadDim);
  SPADE_CHECK(heads.q_heads % heads.kv_heads == 0 && kv.block_size % 8 == 0);
  SPADE_CHECK(kv.dtype == DType::kF32 || kv.dtype == DType::kBF16);
  if (qkv.rows == 0) return;
  const AttentionArgs args = {.qkv = static_cast<const float*>(qkv.data),
                              .heads = heads,
                              .batch = batch,
                              .kv = kv,
                              .out = static_cast<float*>(out.data)};
  PlanTiles(args);
  int64_t max_context = 0;
  int64_t work = 0;
  for (const int32_t position : batch.positions) {
    max_context = std::max<int64_t>(max_context, position + 1);
    work += (position + 1) * heads.q_cols() * 2;
  }
  const int64_t scratch = std::max(kTiledScratch, AttentionScratch(max_context));
  const AttentionKernels& attention = AttentionOf(heads, kv);
  const auto attend = [&](int64_t tile, int32_t worker) {
    attention.attend(args, tiles_[tile], worker_scratch_[worker].Reserve(scratch));
  };
  const int64_t tasks = std::ssize(tiles_);
  if (work >= kMinParallelWork) return pool_.Run(tasks, attend);
  for (int64_t tile = 0; tile < tasks; ++tile) attend(tile, /*worker=*/0);
}

void CpuBackend::StartSelfAttention(Tensor qkv, const HeadLayout& heads, StartView start,
                                    Tensor out) {
  SPADE_CHECK(qkv.cols == heads.qkv_cols() && out.cols == heads.q_cols());
  SPADE_CHECK(out.rows == qkv.rows && heads.head_dim % 8 == 0);
  ForEachRow(qkv.rows, heads.q_cols() * kExpCost,
             [&](int64_t row) { row_.start_self(qkv.F32Row(row), heads, start, out.F32Row(row)); });
}

void CpuBackend::SiluMul(Tensor gate_up, Tensor out) {
  SPADE_CHECK(gate_up.rows == out.rows && gate_up.cols == 2 * out.cols);
  ForEachRow(out.rows, out.cols * kExpCost,
             [&](int64_t row) { row_.silu_mul(gate_up.F32Row(row), out.cols, out.F32Row(row)); });
}

void CpuBackend::GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) {
  SPADE_CHECK(out.rows == std::ssize(rows) && out.cols == x.cols && out.dtype == x.dtype);
  // In order, on one thread: out may be x, and then a row's source must be read before it is
  // overwritten.
  for (int64_t i = 0; i < out.rows; ++i) {
    std::memmove(out.Slice(i, 1).data, x.Slice(rows[i], 1).data, x.Slice(rows[i], 1).bytes());
  }
}

void CpuBackend::CopyRows(Tensor x, std::span<const int32_t> from, std::span<const int32_t> to,
                          Tensor out) {
  SPADE_CHECK(from.size() == to.size() && out.cols == x.cols && out.dtype == x.dtype);
  ForEachRow(std::ssize(from), x.cols * kCopyCost, [&](int64_t i) {
    std::memcpy(out.Slice(to[i], 1).data, x.Slice(from[i], 1).data, x.Slice(from[i], 1).bytes());
  });
}

void CpuBackend::ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) {
  pool_.Run(count, [&](int64_t i, int32_t) { fn(i); });
}

}  // namespace spade
