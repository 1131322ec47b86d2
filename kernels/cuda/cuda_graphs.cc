// CudaBackend: runs of operations that come again, as CUDA graphs.
#include "kernels/check.h"
#include "kernels/cuda/cuda_backend.h"

namespace spade {
namespace {

// Of more rows, which seldom come again, the work takes longer than its launches.
constexpr int64_t kMaxGraphRows = 256;

}  // namespace

// The operations are called to see what they would launch, and with which arguments; only where
// that was not captured are they called again, to be launched. Lists that differ from run to run go
// over in the first call, to the same place: the first batch's to the first plan, the other's to
// the second.
void CudaBackend::RunRepeatable(int64_t rows, absl::FunctionRef<void()> operations) {
  if (graphs_ == nullptr || rows > kMaxGraphRows) return operations();
  SPADE_CHECK(!repeating_);
  repeating_ = true;
  for (PlannedBatch& planned : planned_) planned.positions = {};
  planned_now_ = &planned_[1];
  cuda::Signature signature;
  noted_ = &signature;
  operations();
  noted_ = nullptr;
  graphs_->Run(signature.value(), operations);
  repeating_ = false;
}

}  // namespace spade
