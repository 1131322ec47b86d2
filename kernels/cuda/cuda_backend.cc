#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/row_ops.h"

namespace spade {
namespace {

using cuda::CheckCuda;

constexpr int32_t kMinMajor = 8;  // of the compute capability: bf16 arithmetic

const float* FloatsOf(const Tensor& tensor) {
  SPADE_DCHECK(tensor.dtype == DType::kF32);
  return static_cast<const float*>(tensor.data);
}
float* MutableFloats(const Tensor& tensor) {
  SPADE_DCHECK(tensor.dtype == DType::kF32);
  return static_cast<float*>(tensor.data);
}

int CurrentDevice() {
  int device = 0;
  CheckCuda(cudaGetDevice(&device), "the current GPU");
  return device;
}

absl::StatusOr<cudaDeviceProp> FindDevice() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    (void)cudaGetLastError();
    return absl::InvalidArgumentError(
        absl::StrCat("device 'cuda': this machine shows no NVIDIA GPU (", cudaGetErrorString(error),
                     "); install the driver, check CUDA_VISIBLE_DEVICES, or use --device cpu"));
  }
  cudaDeviceProp properties;
  CheckCuda(cudaGetDeviceProperties(&properties, CurrentDevice()), "properties of the GPU");
  if (properties.major < kMinMajor) {
    return absl::InvalidArgumentError(absl::StrCat(
        "device 'cuda': ", properties.name, " has compute capability ", properties.major, ".",
        properties.minor, ", and 8.0 or newer is needed; use --device cpu"));
  }
  return properties;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaBackend>> CudaBackend::Create(const BackendOptions& options) {
  const absl::StatusOr<cudaDeviceProp> properties = FindDevice();
  if (!properties.ok()) return properties.status();
  // Where another process has filled the GPU, not even this succeeds.
  cudaStream_t stream = nullptr;
  const cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) {
    (void)cudaGetLastError();
    return absl::ResourceExhaustedError(absl::StrCat(
        "the GPU (", properties->name, ") cannot be used: ", cudaGetErrorString(error)));
  }
  auto backend = std::unique_ptr<CudaBackend>(new CudaBackend(options, CurrentDevice(), stream));
  backend->device_name_ = properties->name;
  backend->num_processors_ = properties->multiProcessorCount;
  absl::StatusOr<std::unique_ptr<cuda::Gemm>> gemm = cuda::Gemm::Create(stream);
  if (!gemm.ok()) return gemm.status();
  backend->gemm_ = *std::move(gemm);
  for (auto [buffer, bytes] : {std::pair{&backend->scratch_, options.cuda_scratch_bytes},
                               std::pair{&backend->unfit_flag_, sizeof(int32_t)}}) {
    absl::StatusOr<Buffer> memory = cuda::AllocateDevice(bytes);
    if (!memory.ok()) return memory.status();
    *buffer = *std::move(memory);
  }
  return backend;
}

CudaBackend::CudaBackend(const BackendOptions& options, int device, cudaStream_t stream)
    : compute_(options.compute),
      batch_invariant_(options.batch_invariant),
      device_(device),
      stream_(stream),
      pool_(options.num_threads, options.pin_threads),
      logit_reader_(stream),
      planned_{PlannedBatch(stream), PlannedBatch(stream)},
      marks_(stream) {
  for (auto& courier : couriers_) courier = std::make_unique<cuda::Courier>(stream);
  if (options.cuda_graphs > 0) {
    graphs_ = std::make_unique<cuda::GraphCache>(stream, options.cuda_graphs);
  }
}

CudaBackend::~CudaBackend() {
  const cuda::DeviceScope scope(device_);
  (void)cudaStreamSynchronize(stream_);
  gemm_.reset();
  graphs_.reset();
  (void)cudaStreamDestroy(stream_);
}

std::string CudaBackend::description() const {
  return absl::StrCat("cuda, ", device_name_, ", ", std::string(NameOf(compute_)), " products",
                      batch_invariant_ ? ", batch-invariant" : ", large ones by cuBLAS",
                      graphs_ == nullptr ? ", no graphs" : "");
}

// ---- Memory

absl::StatusOr<Buffer> CudaBackend::Allocate(size_t bytes) {
  absl::StatusOr<Buffer> buffer = cuda::AllocateDevice(bytes);
  if (buffer.ok() && bytes > 0) {
    CheckCuda(cudaMemsetAsync(buffer->data(), 0, bytes, stream_), "clearing of memory");
  }
  return buffer;
}

std::optional<int64_t> CudaBackend::FreeMemory() const {
  size_t free = 0;
  size_t total = 0;
  CheckCuda(cudaMemGetInfo(&free, &total), "free memory of the GPU");
  const int64_t for_graphs = graphs_ == nullptr ? 0 : graphs_->MissingBytes();
  return std::max<int64_t>(1, static_cast<int64_t>(free) - for_graphs);
}

void CudaBackend::CopyToHost(void* host, const void* device, size_t bytes) {
  if (bytes == 0) return;
  CheckCuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_),
            "copy from the GPU");
  Synchronize();
}

// Pageable memory has been read when the call returns; pinned memory may not have been.
void CudaBackend::CopyFromHost(void* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
  CheckCuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_),
            "copy to the GPU");
  Synchronize();
}

void CudaBackend::Synchronize() {
  SPADE_DCHECK(!repeating_);
  CheckCuda(cudaStreamSynchronize(stream_), "an operation queued before");
}

const float* CudaBackend::HostView(Tensor tensor) {
  if (tensor.bytes() > host_view_.size()) {
    host_view_ = cuda::AllocatePinned(std::bit_ceil(tensor.bytes()));
  }
  CopyToHost(host_view_.data(), tensor.data, tensor.bytes());
  return static_cast<const float*>(host_view_.data());
}

cuda::Courier& CudaBackend::NextCourier() {
  SPADE_CHECK(!repeating_);  // its list would be the first run's
  next_courier_ = (next_courier_ + 1) % couriers_.size();
  return *couriers_[next_courier_];
}

// ---- Operations on rows

void CudaBackend::RmsNorm(Tensor x, const float* weight, float epsilon, Tensor out) {
  SPADE_CHECK(x.rows == out.rows && x.cols == out.cols);
  if (Notes(Operation::kRmsNorm, x, weight, epsilon, out)) return;
  cuda::RmsNorm({FloatsOf(x), weight, epsilon, x.rows, x.cols, MutableFloats(out)}, stream_);
}

// The frequencies are few and ride along as bits.
void CudaBackend::RopeAngles(std::span<const int32_t> positions, std::span<const float> inv_freq,
                             Tensor angles) {
  const int64_t half = std::ssize(inv_freq);
  SPADE_CHECK(angles.rows == std::ssize(positions) && angles.cols == 2 * half);
  const std::span<const int32_t> parts[] = {
      positions, {reinterpret_cast<const int32_t*>(inv_freq.data()), inv_freq.size()}};
  const int32_t* on_device = NextCourier().Send(parts);
  cuda::RopeAngles({on_device, reinterpret_cast<const float*>(on_device + angles.rows), angles.rows,
                    half, MutableFloats(angles)},
                   stream_);
}

cuda::RopeArgs CudaBackend::RopeArgsOf(Tensor qkv, const HeadLayout& heads, const QkNorm& norm,
                                       Tensor angles) {
  SPADE_CHECK(qkv.cols == heads.qkv_cols() && angles.cols == heads.head_dim);
  SPADE_CHECK(qkv.rows == angles.rows && heads.head_dim % 8 == 0);
  SPADE_CHECK(heads.head_dim <= cuda::kMaxHeadDim);
  return {MutableFloats(qkv), heads, norm, FloatsOf(angles), qkv.rows};
}

void CudaBackend::Rope(Tensor qkv, const HeadLayout& heads, const QkNorm& norm, Tensor angles) {
  const cuda::RopeArgs args = RopeArgsOf(qkv, heads, norm, angles);
  if (args.rows == 0 || Notes(Operation::kRope, args)) return;
  cuda::Rope(args, stream_);
}

void CudaBackend::StartSelfAttention(Tensor qkv, const HeadLayout& heads, StartView start,
                                     Tensor out) {
  SPADE_CHECK(qkv.cols == heads.qkv_cols() && out.cols == heads.q_cols() && out.rows == qkv.rows);
  if (Notes(Operation::kStartSelfAttention, qkv, heads, start, out)) return;
  cuda::StartSelfAttention(
      {FloatsOf(qkv), heads, start.keys, start.values, qkv.rows, MutableFloats(out)}, stream_);
}

void CudaBackend::SiluMul(Tensor gate_up, Tensor out) {
  SPADE_CHECK(gate_up.rows == out.rows && gate_up.cols == 2 * out.cols);
  if (Notes(Operation::kSiluMul, gate_up, out)) return;
  cuda::SiluMul({FloatsOf(gate_up), out.rows, out.cols, MutableFloats(out)}, stream_);
}

void CudaBackend::GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) {
  SPADE_CHECK(out.rows == std::ssize(rows) && out.cols == x.cols && out.dtype == x.dtype);
  if (rows.empty()) return;
  const int32_t* from = NextCourier().Send(rows);
  const cuda::CopyRowsArgs args = {FloatsOf(x), from,   /*to=*/nullptr,
                                   out.rows,    x.cols, MutableFloats(out)};
  if (x.data == out.data) {
    SPADE_DCHECK(std::ranges::is_sorted(rows));
    cuda::CompactRows(args, stream_);
  } else {
    cuda::CopyRows(args, stream_);
  }
}

void CudaBackend::CopyRows(Tensor x, std::span<const int32_t> from, std::span<const int32_t> to,
                           Tensor out) {
  SPADE_CHECK(from.size() == to.size() && out.cols == x.cols && out.dtype == x.dtype);
  if (from.empty()) return;
  const std::span<const int32_t> parts[] = {from, to};
  const int32_t* on_device = NextCourier().Send(parts);
  cuda::CopyRows({FloatsOf(x), on_device, on_device + from.size(), std::ssize(from), x.cols,
                  MutableFloats(out)},
                 stream_);
}

void CudaBackend::ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) {
  pool_.Run(count, [&](int64_t i, int32_t) { fn(i); });
}

}  // namespace spade
