#include "kernels/cuda/nccl_collective.h"

#include <nccl.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/device_memory.h"

namespace spade::cuda {
namespace {

// Of a row of a step, of decode's batches, of a prefill: NCCL has its ways for each.
constexpr int64_t kWarmCounts[] = {int64_t{1} << 12, int64_t{1} << 18, int64_t{1} << 21};

absl::Status CannotJoin(size_t gpus, ncclResult_t result) {
  return absl::InternalError(
      absl::StrCat("NCCL cannot join ", gpus, " GPUs: ", ncclGetErrorString(result),
                   "; NCCL_DEBUG=INFO tells why ", "(in a container often too small a /dev/shm)"));
}

class NcclCollective final : public Collective {
 public:
  NcclCollective(std::vector<ncclComm_t> members, std::span<const cudaStream_t> streams)
      : members_(std::move(members)), streams_(streams.begin(), streams.end()) {}
  NcclCollective(const NcclCollective&) = delete;
  NcclCollective& operator=(const NcclCollective&) = delete;
  ~NcclCollective() override {
    for (ncclComm_t member : members_) (void)ncclCommDestroy(member);
  }

  void Enter(int32_t shard) override { CheckCuda(cudaSetDevice(shard), "choice of a GPU"); }

  void AllReduce(std::span<float* const> places, int64_t count) override {
    const ncclResult_t result = Sum(places, count);
    if (result == ncclSuccess) return;
    std::fprintf(stderr, "NCCL: sum over GPUs: %s\n", ncclGetErrorString(result));
    std::abort();
  }

  // What NCCL connects and allocates at the first sum of a size it does now, before memory is
  // shared out, and while an error can be told.
  absl::Status Warm();

 private:
  ncclResult_t Sum(std::span<float* const> places, int64_t count);

  std::vector<ncclComm_t> members_;
  std::vector<cudaStream_t> streams_;
};

// In a group, or the first GPU's part would wait for the others', which this thread has not queued.
ncclResult_t NcclCollective::Sum(std::span<float* const> places, int64_t count) {
  SPADE_CHECK(places.size() == members_.size());
  ncclResult_t result = ncclGroupStart();
  for (size_t shard = 0; shard < places.size() && result == ncclSuccess; ++shard) {
    result = ncclAllReduce(places[shard], places[shard], static_cast<size_t>(count), ncclFloat,
                           ncclSum, members_[shard], streams_[shard]);
  }
  const ncclResult_t ended = ncclGroupEnd();
  return result == ncclSuccess ? ended : result;
}

absl::Status NcclCollective::Warm() {
  std::vector<Buffer> memory;
  std::vector<float*> places;
  for (size_t shard = 0; shard < members_.size(); ++shard) {
    const DeviceScope scope(static_cast<int>(shard));
    absl::StatusOr<Buffer> buffer = AllocateDevice(*std::rbegin(kWarmCounts) * sizeof(float));
    if (!buffer.ok()) return buffer.status();
    places.push_back(static_cast<float*>(buffer->data()));
    memory.push_back(*std::move(buffer));
  }
  for (const int64_t count : kWarmCounts) {
    const ncclResult_t result = Sum(places, count);
    if (result != ncclSuccess) return CannotJoin(places.size(), result);
  }
  for (cudaStream_t stream : streams_) CheckCuda(cudaStreamSynchronize(stream), "first sums");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Collective>> MakeNcclCollective(
    std::span<const cudaStream_t> streams) {
  const DeviceScope scope(0);
  std::vector<int> devices(streams.size());
  std::iota(devices.begin(), devices.end(), 0);
  std::vector<ncclComm_t> members(streams.size());
  const ncclResult_t result =
      ncclCommInitAll(members.data(), static_cast<int>(devices.size()), devices.data());
  if (result != ncclSuccess) return CannotJoin(devices.size(), result);
  auto collective = std::make_unique<NcclCollective>(std::move(members), streams);
  if (absl::Status status = collective->Warm(); !status.ok()) return status;
  return collective;
}

}  // namespace spade::cuda
