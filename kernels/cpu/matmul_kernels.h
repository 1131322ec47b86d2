#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/packed_matrix.h"

namespace spade {

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

// Rows in as few tiles as can be, of even height: a low tile would leave the arithmetic units idle.
struct RowTiling {
  RowTiling(int64_t num_rows, int64_t max_height)
      : rows(num_rows),
        count((rows + max_height - 1) / max_height),
        height(count == 0 ? 0 : (rows + count - 1) / count) {}

  Range RowsOf(int64_t tile) const {
    return {std::min(tile * height, rows), std::min((tile + 1) * height, rows)};
  }

  int64_t rows;
  int64_t count;
  int64_t height;
};

// A tile of one panel of an MLP's inner activations.
struct GatedTile {
  const float* sums;  // (rows, 2, 16): gates, ups
  int64_t rows;
  const float* bias;  // of the gates, that of the ups out_cols later; or null
  float* out;
  int64_t out_cols;  // from one row to the next
};
// out = silu(gate) * up.
using GateKernel = void (*)(const GatedTile& tile);

struct MatMulArgs {
  PackedMatrix weight;
  const float* x = nullptr;  // (rows, in_features)
  int64_t rows = 0;
  float* out = nullptr;                 // (rows, out_cols)
  int64_t out_cols = 0;                 // out_features, or the number of column_ids
  const int32_t* column_ids = nullptr;  // null: all columns
  const float* bias = nullptr;          // (out_cols), or null
  bool accumulate = false;
  // If set, the weight is so many rows of gates as out_cols, a multiple of 16, then as many of ups,
  // and this makes the outputs of both. For kernels on words, with more rows than kOneStreamRows.
  GateKernel gate = nullptr;

  int64_t out_panels() const { return (out_cols + kPanelCols - 1) / kPanelCols; }
};

// One thread's share of x W^T; threading is the caller's. Both paths give the same bits.
struct MatMulKernels {
  // For up to max_direct_rows rows: expands the packed weights in registers.
  void (*direct)(const MatMulArgs& args, Range panels);

  // For any number of rows. First pack_rows once for all tiles, to PackedFloats(args) floats; then
  // tiled, with tiles of at most kMaxTaskRows rows a call.
  void (*pack_rows)(const MatMulArgs& args, Range tiles, float* packed);
  void (*tiled)(const MatMulArgs& args, const float* packed, Range panels, Range tiles,
                float* scratch);
  int64_t max_tile_rows;
  int64_t max_direct_rows;  // 0: direct is null
  int64_t panels_at_once;   // `tiled` is slower with a number that this does not divide

  RowTiling Tiling(int64_t rows) const { return RowTiling(rows, max_tile_rows); }
};

// The most that pack_rows writes: an I8 row has two words a group beside its inputs.
inline int64_t PackedFloats(const MatMulArgs& args) {
  return args.rows * (args.weight.in_features + 4);
}

// With so few rows arithmetic does not fill the time that memory takes, and kernels on words
// (matmul_words.h) read a single stream of weights, which is fastest.
inline constexpr int64_t kOneStreamRows = 4;

inline constexpr int64_t kMaxTaskRows = 240;
// Floats of scratch that `tiled` needs.
inline constexpr int64_t kTiledScratch = (kBlockInputs + 2 * kMaxTaskRows) * kPanelCols;

// Of any weights but those in quads, in F32: x as it is, weights expanded.
const MatMulKernels& GetMatMulKernels(Isa isa);

// Of BF16 weights and x rounded to BF16, summed in F32; null where `isa` has no such instruction.
const MatMulKernels* GetBF16MatMulKernels(Isa isa);

// Of I8 weights in quads and x rounded to I8 by its groups: sums of a group are integers, their
// total is F32. By AVX512-VNNI where `isa` has it.
const MatMulKernels& GetInt8MatMulKernels(Isa isa);

// Those by AVX512-VNNI; null where `isa` has no such instruction.
const MatMulKernels* GetVnniMatMulKernels(Isa isa);

}  // namespace spade
