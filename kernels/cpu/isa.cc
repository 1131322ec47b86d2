#include "kernels/cpu/isa.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/simd.h"
//
#include "hwy/highway.h"

namespace spade {
namespace {

struct IsaEntry {
  Isa isa;
  std::string_view name;
  int64_t target;
};

// Best first. The last runs everywhere: it is compiled for the compiler's baseline.
constexpr IsaEntry kIsas[] = {
    {Isa::kAvx3BF16, "avx3_bf16", HWY_AVX3},
    {Isa::kAvx3Vnni, "avx3_vnni", HWY_AVX3},
    {Isa::kAvx3, "avx3", HWY_AVX3},
    {Isa::kAvx2, "avx2", HWY_AVX2},
    {Isa::kSse4, "sse4", HWY_SSE4},
    {Isa::kNeon, "neon", HWY_NEON},
    {Isa::kPortable, "portable", HWY_STATIC_TARGET},
};

// What Highway's target does not include.
bool HasDotProducts(Isa isa) {
#if HWY_ARCH_X86_64
  const bool has_vnni = __builtin_cpu_supports("avx512vnni") != 0;
  const bool has_bf16 = __builtin_cpu_supports("avx512bf16") != 0;
#else
  const bool has_vnni = false;
  const bool has_bf16 = false;
#endif
  if (isa == Isa::kAvx3Vnni) return has_vnni;
  return isa != Isa::kAvx3BF16 || (has_vnni && has_bf16);
}

bool IsAvailable(const IsaEntry& entry) {
  if (entry.isa == Isa::kPortable) return true;
  if (!HasDotProducts(entry.isa)) return false;
  return (HWY_TARGETS & hwy::SupportedTargets() & entry.target) != 0;
}

}  // namespace

std::string_view NameOf(Isa isa) {
  for (const IsaEntry& entry : kIsas) {
    if (entry.isa == isa) return entry.name;
  }
  return "?";
}

absl::StatusOr<Isa> SelectIsa(std::string_view name) {
  std::string available;
  for (const IsaEntry& entry : kIsas) {
    if (!IsAvailable(entry)) continue;
    if (name.empty() || name == entry.name) return entry.isa;
    absl::StrAppend(&available, available.empty() ? "" : ", ", std::string(entry.name));
  }
  return absl::InvalidArgumentError(absl::StrCat("instruction set '", std::string(name),
                                                 "' is unknown or not on this machine; it has ",
                                                 available, " (empty: the best)"));
}

}  // namespace spade
