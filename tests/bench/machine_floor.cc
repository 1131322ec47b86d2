#include "tests/bench/machine_floor.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/matmul_kernels.h"
#include "tests/bench/dot_peak.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/machine_floor.cc"
#include "kernels/cpu/simd.h"
//
#include "hwy/foreach_target.h"  // must come before highway.h
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace spade::bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::CappedTag<float, 16>;
using VF = hn::Vec<DF>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(DF()));

float SumAll(const float* data, int64_t count) {
  const DF d;
  VF sums[8];
  for (VF& sum : sums) sum = hn::Zero(d);
  for (int64_t i = 0; i < count; i += 8 * kLanes) {
    HWY_UNROLL(8)
    for (int v = 0; v < 8; ++v) sums[v] = hn::Add(sums[v], hn::LoadU(d, data + i + v * kLanes));
  }
  for (int v = 1; v < 8; ++v) sums[0] = hn::Add(sums[0], sums[v]);
  return hn::GetLane(hn::SumOfLanes(d, sums[0]));
}

// Returns the FLOP done, having done them.
double MultiplyAdds(int64_t rounds, float* sink) {
  const DF d;
  VF sums[12];
  for (VF& sum : sums) sum = hn::Zero(d);
  const VF factor = hn::Set(d, *sink);
  for (int64_t i = 0; i < rounds; ++i) {
    HWY_UNROLL(12)
    for (int v = 0; v < 12; ++v) sums[v] = hn::MulAdd(sums[v], factor, factor);
  }
  for (int v = 1; v < 12; ++v) sums[0] = hn::Add(sums[0], sums[v]);
  *sink = hn::GetLane(hn::SumOfLanes(d, sums[0]));
  return 2.0 * 12 * kLanes * static_cast<double>(rounds);
}

// Of integers: by pairs of 16 bits, as where there are no dot products of bytes.
double PairMultiplyAdds(int64_t rounds, float* sink) {
#if HWY_TARGET == HWY_SCALAR
  return MultiplyAdds(rounds, sink);
#else
  const hn::RebindToSigned<DF> d;
  const hn::RepartitionToNarrow<hn::RebindToSigned<DF> > d_pairs;
  hn::Vec<decltype(d)> sums[12];
  hn::Vec<decltype(d)> more[12];
  for (int v = 0; v < 12; ++v) sums[v] = more[v] = hn::Zero(d);
  const auto factor = hn::BitCast(d_pairs, hn::Set(DF(), *sink));
  for (int64_t i = 0; i < rounds; ++i) {
    HWY_UNROLL(12)
    for (int v = 0; v < 12; ++v) {
      sums[v] = hn::ReorderWidenMulAccumulate(d, factor, factor, sums[v], more[v]);
    }
  }
  for (int v = 1; v < 12; ++v) sums[0] = hn::Add(sums[0], sums[v]);
  *sink = static_cast<float>(hn::GetLane(sums[0]));
  return 2.0 * 12 * 2 * kLanes * static_cast<double>(rounds);
#endif
}

}  // namespace
}  // namespace spade::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spade::bench {
namespace {

constexpr int kRuns = 15;

// The best rate of several runs: `amount` per second of run(part), part in [0, parts).
template <class Function>
double BestRate(int32_t threads, int64_t parts, double amount, const Function& run) {
  const std::unique_ptr<Backend> backend = *MakeBackend({.num_threads = threads});
  double best = 0;
  for (int i = 0; i < kRuns; ++i) {
    const double start = Now(threads);
    backend->ParallelFor(parts, run);
    best = std::max(best, amount / (Now(threads) - start));
  }
  return best;
}

// The multiply-adds that products in `compute` are made of, on this machine.
auto MultiplyAddsOf(Compute compute) {
  const Isa isa = *SelectIsa("");
  if (compute == Compute::kI8) {
    return GetVnniMatMulKernels(isa) != nullptr ? &Int8Dots
                                                : SPADE_FUNCTION_FOR(isa, PairMultiplyAdds);
  }
  const bool in_bf16 = compute == Compute::kBF16 && GetBF16MatMulKernels(isa) != nullptr;
  return in_bf16 ? &BF16Dots : SPADE_FUNCTION_FOR(isa, MultiplyAdds);
}

}  // namespace

double Now(int32_t threads) {
  timespec time;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double ReadBandwidth(int32_t threads) {
  constexpr int64_t kParts = 32;
  constexpr int64_t kPartFloats = int64_t{2} << 20;  // 256 MiB in all
  const auto sum_all = SPADE_FUNCTION_FOR(*SelectIsa(""), SumAll);
  const std::unique_ptr<Backend> backend = *MakeBackend({});
  const Buffer memory = *backend->Allocate(kParts * kPartFloats * sizeof(float));
  const auto* floats = static_cast<const float*>(memory.data());
  float sums[kParts];
  const double rate = BestRate(
      threads, kParts, static_cast<double>(memory.size()),
      [&](int64_t part) { sums[part] = sum_all(floats + part * kPartFloats, kPartFloats); });
  for (const float sum : sums) {
    if (sum != 0) std::abort();
  }
  return rate;
}

double MultiplyAddPeak(int32_t threads, Compute compute) {
  constexpr int64_t kParts = 32;
  constexpr int64_t kRounds = 200'000;
  const auto multiply_adds = MultiplyAddsOf(compute);
  float sinks[kParts];
  std::fill_n(sinks, kParts, 0.5f);
  const double flop = multiply_adds(1, &sinks[0]) * kRounds;
  return BestRate(threads, kParts, flop * kParts,
                  [&](int64_t part) { multiply_adds(kRounds, &sinks[part]); });
}

}  // namespace spade::bench
#endif  // HWY_ONCE
