#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

#include "emulator/block.h"
#include "kernels/check.h"

// In place of kernels/cuda/tensor_core.h: the same results from what the warp's lanes give, by the
// layouts that the PTX ISA states.

namespace spade::cuda {

namespace emulated {

inline float Element(uint32_t word, int half) {
  return std::bit_cast<float>(half == 0 ? word << 16 : word & 0xffff0000u);
}

// Row `row` of tile `tile` as its lane named it.
inline const uint16_t* Row(const std::array<cuda_emulation::Words, 32>& warp, int tile, int row) {
  const cuda_emulation::Words& words = warp[static_cast<size_t>(8 * tile + row)];
  return reinterpret_cast<const uint16_t*>(uint64_t{words[1]} << 32 | words[0]);
}

inline const std::array<cuda_emulation::Words, 32>& GatherRows(const void* row) {
  const auto address = reinterpret_cast<uint64_t>(row);
  SPADE_CHECK(address % 16 == 0);
  return cuda_emulation::GatherWarp(
      {static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32)});
}

}  // namespace emulated

inline void MultiplyTile(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4]) {
  const auto& warp = cuda_emulation::GatherWarp({a[0], a[1], a[2], a[3], b0, b1});
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8;
    const int column = lane % 4 * 2 + i % 2;
    float sum = 0;
    for (int k = 0; k < 16; ++k) {
      const auto of_a = static_cast<size_t>(row % 8 * 4 + k % 8 / 2);
      const auto of_b = static_cast<size_t>(column * 4 + k % 8 / 2);
      sum += emulated::Element(warp[of_a][static_cast<size_t>(k / 8 * 2 + row / 8)], k % 2) *
             emulated::Element(warp[of_b][static_cast<size_t>(4 + k / 8)], k % 2);
    }
    sums[i] += sum;
  }
}

inline void LoadTiles(const void* row, uint32_t (&words)[4]) {
  const auto& warp = emulated::GatherRows(row);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int tile = 0; tile < 4; ++tile) {
    const uint16_t* from = emulated::Row(warp, tile, lane / 4) + lane % 4 * 2;
    words[tile] = from[0] | static_cast<uint32_t>(from[1]) << 16;
  }
}

inline void LoadTilesTransposed(const void* row, uint32_t (&words)[4]) {
  const auto& warp = emulated::GatherRows(row);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int tile = 0; tile < 4; ++tile) {
    const int first = lane % 4 * 2;
    words[tile] = emulated::Row(warp, tile, first)[lane / 4] |
                  static_cast<uint32_t>(emulated::Row(warp, tile, first + 1)[lane / 4]) << 16;
  }
}

}  // namespace spade::cuda
