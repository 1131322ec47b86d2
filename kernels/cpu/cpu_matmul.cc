// Products of the CPU backend.
#include <algorithm>

#include "kernels/check.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_work.h"
#include "kernels/cpu/packed_matrix.h"

namespace spade {
namespace {

MatMulArgs ArgsOf(const Tensor& x, const PackedMatrix& weight, const MatMulOptions& options,
                  const Tensor& out) {
  SPADE_CHECK(x.cols == weight.in_features && x.rows == out.rows);
  SPADE_CHECK(x.dtype == DType::kF32 && out.dtype == DType::kF32);
  return {.weight = weight,
          .x = static_cast<const float*>(x.data),
          .rows = x.rows,
          .out = static_cast<float*>(out.data),
          .out_cols = out.cols,
          .bias = options.bias,
          .accumulate = options.accumulate};
}

}  // namespace

void CpuBackend::MatMul(Tensor x, const Matrix& weight, const MatMulOptions& options, Tensor out) {
  SPADE_CHECK(out.cols == weight.out_features);
  Multiply(ArgsOf(x, PackedMatrix(weight, compute_), options, out));
}

// A row is normalised where it is packed, while it is in the core's cache.
void CpuBackend::NormMatMul(Tensor x, const RowNorm& norm, const Matrix& weight, const float* bias,
                            Tensor normed, Tensor out) {
  SPADE_CHECK(x.rows == normed.rows && x.cols == normed.cols);
  SPADE_CHECK(out.cols == weight.out_features);
  const PendingNorm pending{x, norm, normed};
  Multiply(ArgsOf(normed, PackedMatrix(weight, compute_), {.bias = bias}, out), &pending);
}

void CpuBackend::NormGateUp(Tensor x, const RowNorm& norm, const Matrix& weight, const float* bias,
                            Tensor normed, Tensor gate_up, Tensor gated) {
  const PackedMatrix packed(weight, compute_);
  const MatMulKernels* kernels = WordKernelsFor(packed);
  const bool fits = kernels != nullptr && x.rows > kOneStreamRows && gated.cols % kPanelCols == 0;
  if (!fits) return Backend::NormGateUp(x, norm, weight, bias, normed, gate_up, gated);
  SPADE_CHECK(x.rows == normed.rows && x.cols == normed.cols && x.rows == gated.rows);
  SPADE_CHECK(x.cols == weight.in_features && 2 * gated.cols == weight.out_features);
  const PendingNorm pending{x, norm, normed};
  MultiplyTiled(*kernels,
                {.weight = packed,
                 .x = static_cast<const float*>(normed.data),
                 .rows = x.rows,
                 .out = static_cast<float*>(gated.data),
                 .out_cols = gated.cols,
                 .bias = bias,
                 .gate = row_.gate_tile},
                &pending);
}

void CpuBackend::MatMulColumns(Tensor x, const Matrix& weight, std::span<const int32_t> ids,
                               Tensor out) {
  SPADE_CHECK(out.cols == std::ssize(ids));
  for (const int32_t id : ids) SPADE_CHECK(id >= 0 && id < weight.out_features);
  MatMulArgs args = ArgsOf(x, PackedMatrix(weight, compute_), {}, out);
  args.column_ids = ids.data();
  Multiply(args);
}

const MatMulKernels* CpuBackend::WordKernelsFor(const PackedMatrix& weight) const {
  if (weight.in_quads) return &int8_matmul_;
  const bool in_bf16 = compute_ == Compute::kBF16 && weight.dtype == DType::kBF16;
  return in_bf16 ? bf16_matmul_ : nullptr;
}

void CpuBackend::Normalise(const PendingNorm& pending, Range rows) {
  const auto& [x, norm, normed] = pending;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    row_.rms_norm(x.F32Row(row), norm.weight, norm.epsilon, x.cols, normed.F32Row(row));
  }
}

void CpuBackend::Multiply(MatMulArgs args, const PendingNorm* pending) {
  if (args.rows == 0 || args.out_cols == 0) return;
  if (const MatMulKernels* kernels = WordKernelsFor(args.weight)) {
    return MultiplyTiled(*kernels, args, pending);
  }
  const bool rounds = compute_ == Compute::kBF16 && args.weight.dtype == DType::kBF16;
  const bool direct = args.rows <= matmul_.max_direct_rows && args.column_ids == nullptr;
  if (pending != nullptr && (rounds || direct)) {
    RmsNorm(pending->x, pending->norm.weight, pending->norm.epsilon, pending->normed);
    pending = nullptr;
  }
  if (rounds) args.x = RoundToBF16(args);
  if (direct) return MultiplyDirect(matmul_, args);
  MultiplyTiled(matmul_, args, pending);
}

const float* CpuBackend::RoundToBF16(const MatMulArgs& args) {
  const int64_t cols = args.weight.in_features;
  float* rounded = rounded_rows_.Reserve(args.rows * cols);
  ForEachRow(args.rows, cols * kCopyCost, [&](int64_t row) {
    const float* x = args.x + row * cols;
    float* to = rounded + row * cols;
    for (int64_t i = 0; i < cols; ++i) to[i] = BF16ToFloat(FloatToBF16(x[i]));
  });
  return rounded;
}

void CpuBackend::MultiplyDirect(const MatMulKernels& kernels, const MatMulArgs& args) {
  const int64_t panels = args.out_panels();
  const int64_t work = args.rows * args.out_cols * args.weight.in_features;
  if (work < kMinParallelWork) return kernels.direct(args, {0, panels});
  const int64_t tasks = std::min(panels, kTasksPerThread * pool_.num_threads());
  pool_.Run(tasks, [&](int64_t task, int32_t) { kernels.direct(args, Part(panels, tasks, task)); });
}

void CpuBackend::MultiplyTiled(const MatMulKernels& kernels, const MatMulArgs& args,
                               const PendingNorm* pending) {
  const RowTiling tiling = kernels.Tiling(args.rows);
  const int64_t in_features = args.weight.in_features;
  const int64_t cost = kPackCost + (pending != nullptr ? kNormCost : 0);
  float* packed = packed_rows_.Reserve(PackedFloats(args));
  ForEachRow(tiling.count, tiling.height * in_features * cost, [&](int64_t tile) {
    if (pending != nullptr) Normalise(*pending, tiling.RowsOf(tile));
    kernels.pack_rows(args, {tile, tile + 1}, packed);
  });

  const int64_t panels = args.out_panels();
  const int64_t step = args.gate != nullptr ? 1 : kernels.panels_at_once;
  const int64_t steps = (panels + step - 1) / step;
  const bool parallel = args.rows * args.out_cols * in_features >= kMinParallelWork;
  const int64_t wanted = parallel ? kTasksPerThread * pool_.num_threads() : 1;
  const int64_t panel_tasks = std::min(steps, wanted);
  // Rows are split where a task must, and where the panels are too few for the threads.
  const int64_t max_tiles = kMaxTaskRows / tiling.height;
  const int64_t needed = (tiling.count + max_tiles - 1) / max_tiles;
  const int64_t row_tasks = std::min(tiling.count, std::max(needed, wanted / panel_tasks));
  const auto run = [&](int64_t task, int32_t worker) {
    const Range part = Part(steps, panel_tasks, task / row_tasks);
    kernels.tiled(args, packed, {part.begin * step, std::min(part.end * step, panels)},
                  Part(tiling.count, row_tasks, task % row_tasks),
                  worker_scratch_[worker].Reserve(kTiledScratch));
  };
  const int64_t tasks = panel_tasks * row_tasks;
  if (parallel) return pool_.Run(tasks, run);
  for (int64_t task = 0; task < tasks; ++task) run(task, /*worker=*/0);
}

}  // namespace spade
