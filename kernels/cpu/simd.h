#pragma once

// What every Highway file of ours includes before hwy/foreach_target.h. The kernels keep vectors in
// arrays, which scalable vectors (SVE, RVV) cannot do.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

// The pointer to `function` (of namespace HWY_NAMESPACE) compiled for `isa`. A table of our own and
// not HWY_DYNAMIC_DISPATCH, whose choice is one for the whole process.
#define SPADE_FUNCTION_FOR(isa, function)                \
  ((isa) == Isa::kAvx3       ? HWY_CHOOSE_AVX3(function) \
   : (isa) == Isa::kAvx3Vnni ? HWY_CHOOSE_AVX3(function) \
   : (isa) == Isa::kAvx3BF16 ? HWY_CHOOSE_AVX3(function) \
   : (isa) == Isa::kAvx2     ? HWY_CHOOSE_AVX2(function) \
   : (isa) == Isa::kSse4     ? HWY_CHOOSE_SSE4(function) \
   : (isa) == Isa::kNeon     ? HWY_CHOOSE_NEON(function) \
                             : HWY_CHOOSE_FALLBACK(function))
