// Weights from and to F32.
#include "kernels/cuda/elements.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"
#include "kernels/cuda/weights.h"

namespace spade::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr float kMaxF32 = 3.402823466e38f;

unsigned Blocks(int64_t count, int64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

template <class Function>
void WithElement(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kF16:
      return function(Half{});
    case DType::kBF16:
      return function(BFloat16{});
    case DType::kI8:
      return function(int8_t{});
    default:
      return function(float{});
  }
}

// One warp a group of kInt8Group elements of a row: two elements a lane.
template <class Source, class Element>
__global__ void __launch_bounds__(kThreads) PackKernel(PackArgs args) {
  const int64_t stride = WeightView::StrideOf(args.cols);
  const int64_t groups = stride / kInt8Group;
  const int64_t index = int64_t{blockIdx.x} * kWarps + WarpIndex();
  if (index >= args.rows * groups) return;
  const int64_t row = index / groups;
  const int64_t group = index % groups;
  const float limit = sizeof(Element) == 2 && args.dtype == DType::kF16 ? kMaxF16 : kMaxF32;
  float values[2];
  float largest = 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int64_t col = group * kInt8Group + i * kWarp + Lane();
    values[i] = col < args.cols
                    ? ToFloat(static_cast<const Source*>(args.source)[row * args.cols + col])
                    : 0.0f;
    if (!(fabsf(values[i]) <= limit)) *args.unfit_flag = 1;  // NaN included
    largest = fmaxf(largest, fabsf(values[i]));
  }
  float scale = 0;
  if constexpr (sizeof(Element) == 1) {
    scale = WarpMax(largest) / 127.0f;
    if (Lane() == 0) args.scales[index] = scale;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    Element* to = static_cast<Element*>(args.weights) + row * stride + group * kInt8Group +
                  i * kWarp + Lane();
    if constexpr (sizeof(Element) == 1) {
      const float steps = scale > 0 ? rintf(values[i] / scale) : 0.0f;
      *to = static_cast<int8_t>(fmaxf(-127.0f, fminf(127.0f, steps)));
    } else {
      *to = FromFloat<Element>(values[i]);
    }
  }
}

// One block a row of 1024 elements or less of it. ids null: rows first, first + 1, ...
template <class Element>
__global__ void __launch_bounds__(kThreads)
    WidenKernel(WeightView table, const int32_t* ids, int64_t first, float* out) {
  const int64_t i = blockIdx.x;
  const int64_t row = ids != nullptr ? ids[i] : first + i;
  const int64_t cols = table.in_features;
  const auto* from = static_cast<const Element*>(table.data) + row * table.stride();
  for (int64_t col = int64_t{blockIdx.y} * kThreads + threadIdx.x; col < cols;
       col += int64_t{gridDim.y} * kThreads) {
    float value = ToFloat(from[col]);
    if constexpr (sizeof(Element) == 1) {
      value *= table.scales[(row * table.stride() + col) / kInt8Group];
    }
    out[i * cols + col] = value;
  }
}

// Eight weights a thread, of one group.
__global__ void __launch_bounds__(kThreads)
    RoundWeightsKernel(WeightView weight, int64_t first, uint16_t* out) {
  const int64_t stride = weight.stride();
  const int64_t col = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * 8;
  if (col >= stride) return;
  const int64_t at = (first + blockIdx.x) * stride + col;
  float values[8];
  Load8(static_cast<const int8_t*>(weight.data) + at, values);
  const float scale = __ldg(weight.scales + at / kInt8Group);
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] *= scale;
  Store8(reinterpret_cast<BFloat16*>(out) + int64_t{blockIdx.x} * stride + col, values);
}

template <class Element>
__global__ void __launch_bounds__(kThreads) RoundKernel(RoundArgs args) {
  const int64_t row = blockIdx.x;
  const int64_t col = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * 8;
  if (col >= args.stride) return;
  const float* x = args.x + row * args.cols + col;
  float values[8];
  if (args.cols % 4 == 0 && col + 8 <= args.cols) {
    Load8(x, values);
  } else {
    LoadSome8(x, args.cols - col, values);
  }
  Store8(reinterpret_cast<Element*>(args.out) + row * args.stride + col, values);
}

void Widen(const WeightView& table, const int32_t* ids, int64_t first, int64_t rows, float* out,
           cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(rows), Blocks(table.in_features, kThreads * 8));
  WithElement(table.dtype, [&](auto element) {
    Launch(WidenKernel<decltype(element)>, {grid, kThreads}, stream, table, ids, first, out);
  });
}

}  // namespace

void PackRows(const PackArgs& args, cudaStream_t stream) {
  const int64_t groups = args.rows * (WeightView::StrideOf(args.cols) / kInt8Group);
  const LaunchShape shape = {Blocks(groups, kWarps), kThreads};
  WithElement(args.dtype, [&](auto element) {
    using Element = decltype(element);
    if (args.source_dtype == DType::kF32) {
      Launch(PackKernel<float, Element>, shape, stream, args);
    } else if (args.source_dtype == DType::kF16) {
      Launch(PackKernel<Half, Element>, shape, stream, args);
    } else {
      Launch(PackKernel<BFloat16, Element>, shape, stream, args);
    }
  });
}

void EmbedRows(const WeightView& table, const int32_t* ids, int64_t count, float* out,
               cudaStream_t stream) {
  Widen(table, ids, /*first=*/0, count, out, stream);
}

void WidenRows(const WeightView& weight, int64_t first, int64_t rows, float* out,
               cudaStream_t stream) {
  Widen(weight, /*ids=*/nullptr, first, rows, out, stream);
}

void RoundWeights(const WeightView& weight, int64_t first, int64_t rows, uint16_t* out,
                  cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(rows), Blocks(weight.stride(), kThreads * 8));
  Launch(RoundWeightsKernel, {grid, kThreads}, stream, weight, first, out);
}

void RoundRows(const RoundArgs& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(args.rows), Blocks(args.stride, kThreads * 8));
  if (args.type == DType::kF16) return Launch(RoundKernel<Half>, {grid, kThreads}, stream, args);
  Launch(RoundKernel<BFloat16>, {grid, kThreads}, stream, args);
}

}  // namespace spade::cuda
