// NCCL on the host.
#include <nccl.h>

#include <memory>
#include <vector>

#include "emulator/devices.h"
#include "emulator/stream.h"
#include "kernels/check.h"

using spade::cuda_emulation::DeviceOf;

namespace {

struct Call {
  const float* from = nullptr;
  float* to = nullptr;
  size_t count = 0;
  bool is_made = false;
};

// The GPUs that were joined by one call.
struct Clique {
  std::vector<Call> calls;  // of the group; one a rank
};

}  // namespace

struct ncclComm {
  std::shared_ptr<Clique> clique;
  size_t rank = 0;
  int device = 0;
};

namespace {

bool in_group = false;
std::shared_ptr<Clique> grouped;  // whose calls the group has

// A rank that is missing, or that counts otherwise, would make the others wait for ever.
void Sum(std::vector<Call>& calls) {
  for (const Call& call : calls) SPADE_CHECK(call.is_made && call.count == calls[0].count);
  std::vector<float> sums(calls[0].from, calls[0].from + calls[0].count);
  for (size_t rank = 1; rank < calls.size(); ++rank) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += calls[rank].from[i];
  }
  for (Call& call : calls) {
    for (size_t i = 0; i < sums.size(); ++i) call.to[i] = sums[i];
    call = Call{};
  }
}

}  // namespace

const char* ncclGetErrorString(ncclResult_t) { return "no error"; }

ncclResult_t ncclCommInitAll(ncclComm_t* comms, int count, const int* devices) {
  const auto clique = std::make_shared<Clique>();
  clique->calls.resize(static_cast<size_t>(count));
  for (int rank = 0; rank < count; ++rank) {
    SPADE_CHECK(devices[rank] >= 0 && devices[rank] < spade::cuda_emulation::kNumDevices);
    for (int other = 0; other < rank; ++other) SPADE_CHECK(devices[other] != devices[rank]);
    comms[rank] = new ncclComm{clique, static_cast<size_t>(rank), devices[rank]};
  }
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  SPADE_CHECK(!in_group);
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  SPADE_CHECK(!in_group);
  in_group = true;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  SPADE_CHECK(in_group);
  in_group = false;
  spade::cuda_emulation::ForbidInCapture("ncclGroupEnd");
  spade::cuda_emulation::RunAllQueued();  // what the summands come from
  if (grouped != nullptr) Sum(grouped->calls);
  grouped.reset();
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t) {
  // One thread that waits for one GPU cannot queue the others' part.
  SPADE_CHECK(in_group && type == ncclFloat && operation == ncclSum);
  SPADE_CHECK(DeviceOf(from) == comm->device && DeviceOf(to) == comm->device);
  SPADE_CHECK(grouped == nullptr || grouped == comm->clique);
  grouped = comm->clique;
  Call& call = grouped->calls[comm->rank];
  SPADE_CHECK(!call.is_made);
  call = {static_cast<const float*>(from), static_cast<float*>(to), count, true};
  return ncclSuccess;
}
