#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/batch.h"
#include "kernels/buffer.h"
#include "kernels/dtype.h"
#include "kernels/heads.h"
#include "kernels/logit_reader.h"
#include "kernels/matrix.h"
#include "kernels/tensor.h"

namespace spade {

struct MatMulOptions {
  const float* bias = nullptr;  // (out_features), backend memory; null: none
  bool accumulate = false;      // out += x W^T + bias, in place of out =
};

// What RmsNorm does to a row.
struct RowNorm {
  const float* weight = nullptr;  // (cols), backend memory
  float epsilon = 0;
};

// Device memory and the operations of the forward pass. One forward pass serves all backends;
// engine/ sees no other device interface.
//
// Threading: used by one thread at a time (the engine's loop). Operations may be asynchronous;
// Synchronize() and CopyToHost() wait for all of them.
// Errors: allocation returns RESOURCE_EXHAUSTED. Operations do not fail: shapes are checked by the
// model at load, so a wrong shape here is our bug.
// Batch invariance: a row's result depends on that row alone, to the bit, not on how many rows
// share the call, on their order or on the number of threads. The CPU backend promises it; the CUDA
// backend does with BackendOptions::batch_invariant, else for all but MatMul of more than a few
// rows.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;    // "cpu", "cuda"
  virtual std::string description() const = 0;  // for logs: instruction set, threads

  // Devices that a model's layers are split over. Of several each holds 1/shards() of the heads and
  // of the MLP, tensors and caches have those sizes, and an address stands for one place on each;
  // hidden states are the same on all, and the host reads the first's.
  virtual int32_t shards() const { return 1; }

  // `bytes` of zeroed memory, aligned to 64 bytes. On each shard.
  virtual absl::StatusOr<Buffer> Allocate(size_t bytes) = 0;
  // Bytes of the device's own memory that Allocate may still give, of shards the least; nullopt: it
  // takes the host's.
  virtual std::optional<int64_t> FreeMemory() const { return std::nullopt; }
  virtual void CopyToHost(void* host, const void* device, size_t bytes) = 0;
  virtual void CopyFromHost(void* device, const void* host, size_t bytes) = 0;
  // Shard s gets the s-th `bytes` of host: (shards(), bytes).
  virtual void CopySplitFromHost(void* device, const void* host, size_t bytes) {
    CopyFromHost(device, host, bytes);
  }
  virtual void Synchronize() = 0;
  // An F32 tensor's elements where the host can read them: the tensor itself on the CPU, else a
  // copy that the next HostView overwrites.
  virtual const float* HostView(Tensor tensor) = 0;

  // Stacks the parts' rows (same cols) into one matrix stored as `dtype` (F32, F16, BF16 or I8).
  // The parts are read before it returns.
  virtual absl::StatusOr<Matrix> Pack(std::span<const HostMatrix> parts, DType dtype) = 0;

  // Pack, of which each shard keeps its share: of every part's rows (kOutputs), or of the columns
  // (kInputs). shards() divides them.
  virtual absl::StatusOr<Matrix> PackSplit(std::span<const HostMatrix> parts, DType dtype, Split) {
    return Pack(parts, dtype);
  }

  // out(r, :) = table(ids[r], :). Every id is in [0, table.out_features).
  virtual void Embed(const Matrix& table, std::span<const int32_t> ids, Tensor out) = 0;

  // out = x / sqrt(mean(x^2) + epsilon) * weight, per row; weight: (cols). out may be x.
  virtual void RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) = 0;

  // out = x W^T (+ bias) (+ out); x: (rows, in_features), out: (rows, out_features). With a weight
  // split by inputs out is the sum over shards, the same on all of them.
  virtual void MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options, Tensor out) = 0;

  // out = RmsNorm(x) W^T (+ bias), with the bits of both one after another. `normed`: scratch of
  // x's shape.
  virtual void NormMatMul(Tensor x, const RowNorm& norm, const Matrix& weight, const float* bias,
                          Tensor normed, Tensor out) {
    RmsNorm(x, norm.weight, norm.epsilon, normed);
    MatMul(normed, weight, {.bias = bias}, out);
  }

  // The same, then SiluMul of the product, to `gated`; `gate_up` is scratch too.
  virtual void NormGateUp(Tensor x, const RowNorm& norm, const Matrix& weight, const float* bias,
                          Tensor normed, Tensor gate_up, Tensor gated) {
    NormMatMul(x, norm, weight, bias, normed, gate_up);
    SiluMul(gate_up, gated);
  }

  // The columns `ids` of x W^T, with the same bits as MatMul where that is batch-invariant:
  // out: (rows, ids.size()).
  virtual void MatMulColumns(Tensor x, const Matrix& weight, std::span<const int32_t> ids,
                             Tensor out) = 0;

  // angles(r, i) = cos(positions[r] * inv_freq[i]), angles(r, half + i) = sin(...), half =
  // head_dim / 2; inv_freq: (half), host memory. Computed once a step, used by every layer.
  virtual void RopeAngles(std::span<const int32_t> positions, std::span<const float> inv_freq,
                          Tensor angles) = 0;

  // In qkv: (rows, qkv_cols), normalises (norm) and rotates queries and keys in place. Rotation
  // pairs element i with i + head_dim / 2 of a head (the Hugging Face convention).
  virtual void Rope(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles) = 0;

  // Writes each row's keys and values to its slot of the cache.
  virtual void StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv) = 0;

  // Both, to the bit: on a GPU in one pass.
  virtual void RopeAndStoreKv(Tensor qkv, const HeadLayout& heads, const QkNorm& norm,
                              Tensor angles, const BatchView& batch, KvView kv) {
    Rope(qkv, heads, norm, angles);
    StoreKv(qkv, heads, batch, kv);
  }

  // Causal attention of each row of qkv over positions 0..its own in the cache, scaled by
  // 1/sqrt(head_dim), grouped-query: out: (rows, q_cols). Rows' own keys are in the cache already.
  virtual void Attention(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv,
                         Tensor out) = 0;

  // Attention of each row over exactly {start token, itself}: the SPADE pass.
  virtual void StartSelfAttention(Tensor qkv, const HeadLayout& heads, StartView start,
                                  Tensor out) = 0;

  // out(r, c) = silu(gate_up(r, c)) * gate_up(r, cols + c); gate_up: (rows, 2 cols).
  virtual void SiluMul(Tensor gate_up, Tensor out) = 0;

  // out(i, :) = x(rows[i], :). out may be x when `rows` ascends (compaction in place).
  virtual void GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) = 0;

  // out(to[i], :) = x(from[i], :). `to` has no repeats; out and x do not overlap.
  virtual void CopyRows(Tensor x, std::span<const int32_t> from, std::span<const int32_t> to,
                        Tensor out) = 0;

  // Draws from logits and scores them without their crossing to the host; null where they need not
  // cross: what HostView gives is then the place to read them.
  virtual LogitReader* logit_reader() { return nullptr; }

  // Runs fn(i) for i in [0, count) on the backend's host workers; returns when all are done. For
  // host work of the step, such as sampling; fn must not call the backend.
  virtual void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) = 0;

  // Runs `operations`, which a backend may then replay as one where they come again (CUDA graphs):
  // RmsNorm, MatMul, Rope, StoreKv, both, Attention, StartSelfAttention and SiluMul of `rows` rows,
  // with two batches at most, whose lists stay as they are meanwhile. It may be called twice, and
  // must then ask for the same. Bits are those of the operations run one by one.
  virtual void RunRepeatable(int64_t /*rows*/, absl::FunctionRef<void()> operations) {
    operations();
  }

  // A place among the operations, to see later how long those between two took. Does not wait.
  using TimeMark = int64_t;
  static constexpr int32_t kMaxTimeMarks = 256;  // older ones are forgotten
  virtual TimeMark MarkTime() {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  // Seconds from when the operations before `from` were done until those before `to` were, for
  // which it waits.
  virtual double ElapsedSeconds(TimeMark from, TimeMark to) {
    return static_cast<double>(to - from) * 1e-9;
  }
};

struct BackendOptions {
  std::string device = "cpu";   // or "cuda", the first GPU that CUDA_VISIBLE_DEVICES shows
  int32_t tensor_parallel = 1;  // shards: on "cuda" the first so many GPUs, on "cpu" taking turns
  int32_t num_threads = 0;      // CPU workers; 0: one per allowed core
  bool pin_threads = true;      // CPU: worker i stays on the i-th allowed core
  Compute compute = Compute::kF32;
  // CPU: "" best; else "avx3_bf16", "avx3_vnni", "avx3", "avx2", "sse4", "neon", "portable" (for
  // tests)
  std::string cpu_isa = "";
  // CUDA: products by kernels that sum in one order for any number of rows, not by cuBLAS. The CPU
  // always does so.
  bool batch_invariant = false;
  // CUDA: the most graphs to keep, for which memory is set aside; 0: operations are launched one by
  // one.
  int32_t cuda_graphs = 256;
  // CUDA: scratch of one operation, which goes over what does not fit in parts.
  size_t cuda_scratch_bytes = size_t{64} << 20;
};

// Whether the device can multiply weights of this type so: F16, and BF16 with I8 weights, are a
// GPU's; I8 the CPU's.
bool Suits(const BackendOptions& options, Compute compute, DType weights);

// The fastest type of products with weights of this type that costs little: what the processor or
// the GPU multiplies by itself, else F32. Never I8, which costs accuracy: who wants it asks for it.
Compute BestCompute(const BackendOptions& options, DType weights);

// The type for keys and values on this device beside its products: F32 on the CPU, which keeps
// answers nearest, and BF16 on a GPU, whose attention is then the tensor cores'.
DType BestKvType(const BackendOptions& options);

// INVALID_ARGUMENT for a device, ISA, type of products or number of GPUs this build or machine does
// not have.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const BackendOptions& options);

}  // namespace spade
