#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace spade {

// The instruction sets that the kernels are compiled for. kAvx3Vnni is kAvx3 and AVX512-VNNI: it
// differs in products of I8 only. kAvx3BF16 is kAvx3Vnni and AVX512-BF16, in products of BF16 and
// attention too.
enum class Isa { kPortable, kSse4, kAvx2, kAvx3, kAvx3Vnni, kAvx3BF16, kNeon };

std::string_view NameOf(Isa isa);

// The instruction set `name`, or the machine's best where it is empty. INVALID_ARGUMENT, naming
// those that this machine has, for any other. A choice holds for one backend, not for the process.
absl::StatusOr<Isa> SelectIsa(std::string_view name);

}  // namespace spade
