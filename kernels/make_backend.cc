#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"

namespace spade {

Compute BestCompute(const BackendOptions& options, DType weights) {
  const absl::StatusOr<Isa> isa = SelectIsa(options.cpu_isa);
  const bool has_bf16 =
      options.device == "cpu" && isa.ok() && GetBF16MatMulKernels(*isa) != nullptr;
  return has_bf16 && weights == DType::kBF16 ? Compute::kBF16 : Compute::kF32;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const BackendOptions& options) {
  if (options.device != "cpu") {
    return absl::InvalidArgumentError(
        absl::StrCat("device '", options.device, "' is not in this build; it has: cpu"));
  }
  if (options.num_threads < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_threads is ", options.num_threads, "; use 0 for one per core, or more"));
  }
  absl::StatusOr<Isa> isa = SelectIsa(options.cpu_isa);
  if (!isa.ok()) return isa.status();
  return std::make_unique<CpuBackend>(*isa, options.compute, options.num_threads,
                                      options.pin_threads);
}

}  // namespace spade
