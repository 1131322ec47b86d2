#pragma once

#include "kernels/cuda/logit_row.h"

// Device code only: which tokens of a row a cut keeps. A cut is the code of the last token kept.

namespace spade::cuda {

// Lists, in no order, the codes of which keep(logit, code) is true. Returns their number: if that
// is above kListed, the list is of no use.
template <class Keep>
__device__ int List(const LogitRow& row, RowShared& shared, const Keep& keep) {
  __syncthreads();
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  ForDrawable<4>(row, [&](float x, Code code) {
    if (!keep(x, code)) return;
    const unsigned slot = atomicAdd(&shared.count, 1u);
    if (slot < kListed) shared.codes[slot] = code;
  });
  __syncthreads();
  return static_cast<int>(shared.count);
}

__device__ inline Code ListedCode(const RowShared& shared, int count) {
  return static_cast<int>(threadIdx.x) < count ? shared.codes[threadIdx.x] : 0;
}

// Listed tokens that are more probable.
__device__ inline int RankInList(const RowShared& shared, int count, Code code) {
  int rank = 0;
  for (int i = 0; i < count; ++i) rank += shared.codes[i] > code ? 1 : 0;
  return rank;
}

// What the listed tokens that are more probable weigh, this thread's one weighing `weight`.
__device__ inline Fixed WeightAbove(RowShared& shared, int count, Code code, Fixed weight) {
  __syncthreads();
  shared.weights[threadIdx.x] = weight;
  __syncthreads();
  Fixed above = 0;
  for (int i = 0; i < count; ++i) above += shared.codes[i] > code ? shared.weights[i] : 0;
  return above;
}

// A code that at least `k` tokens reach, as near as the threads' best tell; 0 if they tell nothing.
__device__ inline Code BoundOfTop(const BestTokens& best, int32_t k, RowShared& shared) {
  __syncthreads();
  if (threadIdx.x == 0) shared.code = 0;
  shared.codes[threadIdx.x] = best.of_thread;
  __syncthreads();
  const int rank = RankInList(shared, kRowThreads, best.of_thread);
  if (best.of_thread != 0 && rank == k - 1) shared.code = best.of_thread;
  __syncthreads();
  return shared.code;
}

// The bin in which the sum over it and the bins above reaches `need`; -1: none.
__device__ inline int FindBin(Fixed need, RowShared& shared) {
  constexpr int kOwn = kBins / kRowThreads;
  const int first = kBins - 1 - static_cast<int>(threadIdx.x) * kOwn;  // this thread's, descending
  Fixed own = 0;
#pragma unroll
  for (int i = 0; i < kOwn; ++i) own += shared.bin_sums[first - i];
  shared.weights[threadIdx.x] = own;
  if (threadIdx.x == 0) shared.digit = -1;
  __syncthreads();
  Fixed above = 0;
  for (unsigned i = 0; i < threadIdx.x; ++i) above += shared.weights[i];
  if (above < need && need - above <= own) {
    int bin = first;
    while (need - above > shared.bin_sums[bin]) above += shared.bin_sums[bin--];
    shared.digit = bin;
    shared.above = above;
  }
  __syncthreads();
  return shared.digit;
}

// The cut that keeps the fewest most probable tokens whose measure reaches `need`, at least 1; 0,
// which keeps all, where theirs together does not. measure(logit, code) is of type Fixed. Radix
// selection by the digits of the code, until what is left is few enough to be listed: 2^9 codes at
// the latest.
template <class Measure>
__device__ Code FindCut(const LogitRow& row, Fixed need, RowShared& shared,
                        const Measure& measure) {
  Code prefix = 0;
  int shift = 64;
  int left = kListed + 1;
  while (left > kListed) {
    const bool is_first = shift == 64;
    shift -= kDigitBits;
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kRowThreads) {
      shared.bin_sums[i] = 0;
      shared.bin_counts[i] = 0;
    }
    __syncthreads();
    ForDrawable(row, [&](float x, Code code) {
      if (!is_first && code >> (shift + kDigitBits) != prefix) return;
      const Fixed size = measure(x, code);
      if (size == 0) return;
      const auto bin = static_cast<unsigned>(code >> shift) % kBins;
      atomicAdd(&shared.bin_sums[bin], size);
      atomicAdd(&shared.bin_counts[bin], 1u);
    });
    __syncthreads();
    const int bin = FindBin(need, shared);
    if (bin < 0) return 0;
    need -= shared.above;
    prefix = prefix << kDigitBits | static_cast<Code>(bin);
    left = static_cast<int>(shared.bin_counts[bin]);
  }
  const int count = List(row, shared, [&](float x, Code code) {
    return code >> shift == prefix && measure(x, code) != 0;
  });
  const Code code = ListedCode(shared, count);
  const Fixed size = code != 0 ? measure(LogitOf(code), code) : 0;
  const Fixed above = WeightAbove(shared, count, code, size);
  if (size != 0 && above < need && need - above <= size) shared.code = code;
  __syncthreads();
  return shared.code;
}

__device__ inline Fixed CountOne(float, Code) { return 1; }

// Lists at most the `k` most probable tokens, k <= kListed; returns their number.
__device__ inline int ListTop(const LogitRow& row, const BestTokens& best, int32_t k,
                              RowShared& shared) {
  const Code bound = BoundOfTop(best, k, shared);
  const auto from = [](Code least) { return [least](float, Code code) { return code >= least; }; };
  int count = List(row, shared, from(bound));
  if (count > kListed) {
    const Code cut = FindCut(row, static_cast<Fixed>(k), shared, CountOne);
    count = List(row, shared, from(cut));
  }
  const Code code = ListedCode(shared, count);
  const int rank = RankInList(shared, count, code);
  __syncthreads();
  if (code != 0 && rank < k) shared.codes[rank] = code;  // sorted, the most probable first
  __syncthreads();
  return count < k ? count : k;
}

}  // namespace spade::cuda
