#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// Device code only. The instructions of the tensor cores (PTX ISA, mma.m16n8k16 and ldmatrix). All
// lanes of a warp call together. Of lane l, g = l / 4 and t = l % 4; a word holds two BF16s, the
// first one low:
//
//   a, 16 x 16:   a[0] = (g, 2t)    a[1] = (g + 8, 2t)    a[2] = (g, 2t + 8)    a[3] = (g + 8, 2t +
//   8) b, 16 x 8:    b0 = (2t, g) and (2t + 1, g)            b1 = (2t + 8, g) and (2t + 9, g) sums,
//   16 x 8: sums[0], sums[1] = (g, 2t), (g, 2t + 1) sums[2], sums[3] = the same of row g + 8

namespace spade::cuda {

// sums += a b, in F32.
__device__ inline void MultiplyTile(const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                    float (&sums)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 tiles of 16-bit elements from shared memory. Lane l names row l % 8 of tile l / 8, 16
// bytes that are aligned to 16. words[i] is the lane's two elements of tile i: (g, 2t) and (g, 2t +
// 1).
__device__ inline void LoadTiles(const void* row, uint32_t (&words)[4]) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

// The same of the tiles transposed: (2t, g) and (2t + 1, g).
__device__ inline void LoadTilesTransposed(const void* row, uint32_t (&words)[4]) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

}  // namespace spade::cuda
