#include <algorithm>

#include "kernels/cpu/matmul_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul.cc"
#include "kernels/cpu/simd.h"
//
#include "hwy/foreach_target.h"  // must come before highway.h
//
#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/matmul_direct-inl.h"
#include "kernels/cpu/matmul_tiled-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spade::HWY_NAMESPACE {
namespace {

const MatMulKernels* Kernels() {
  static constexpr MatMulKernels kKernels = {&Direct,      &PackRows,      &Tiled,
                                             kMaxTileRows, kMaxDirectRows, /*panels_at_once=*/1};
  return &kKernels;
}

}  // namespace
}  // namespace spade::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spade {

const MatMulKernels& GetMatMulKernels(Isa isa) { return *SPADE_FUNCTION_FOR(isa, Kernels)(); }

}  // namespace spade
#endif  // HWY_ONCE
