// Matrix products on words of 32 bits: each some neighbouring inputs of one row, or the weights
// that they meet, as dot products of bytes or pairs take them. Part of the files that include it.
//
// `Dot` is the instruction and alone compiled for it:
//   kWordInputs   inputs in a word of weights
//   kBlockWords   words of a panel that are summed at once
//   XWords(n)     words of a packed row that meet n words of weights
//   Pack          the XWords of a row's block
//   Add           a block to the sums of a tile
//   Store         finishes 16 outputs of a row; beyond the last output feature they are dropped
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/matmul_kernels.h"

namespace spade {
namespace {

// 12 x 2 accumulators, with the weights and a broadcast, fill the 32 registers.
inline constexpr int kTileRows = 12;
inline constexpr int kTilePanels = 2;

// Where one tile uses each weight once, those so many words ahead are asked for meanwhile.
inline constexpr int64_t kAheadWords = 64;
// Panels up to this long are fetched while those before them are used: some 32 KiB each.
inline constexpr int64_t kShortPanelWords = 512;

// A block of inputs: x is (XWords(words), rows of the tile), a panel's weights are (words, 16).
struct WordBlock {
  const uint32_t* x;
  const uint32_t* weights;
  const uint32_t* next[kTilePanels];  // of each panel: weights to be fetched meanwhile
  int64_t panel_words;                // from one panel to the next
  int64_t words;
  const float* scales;   // kI8: (groups, 16) of a panel
  int64_t panel_scales;  // from one panel to the next
};

// Where each block of each tile lies among the packed rows.
template <class Dot>
struct WordRows {
  explicit WordRows(const MatMulArgs& args)
      : tiling(args.rows, kTileRows),
        words((args.weight.in_features + Dot::kWordInputs - 1) / Dot::kWordInputs),
        blocks((words + Dot::kBlockWords - 1) / Dot::kBlockWords) {}

  int64_t BlockWords(int64_t block) const {
    return std::min(Dot::kBlockWords, words - block * Dot::kBlockWords);
  }
  // Of a packed row.
  int64_t BlockXWords(int64_t block) const { return Dot::XWords(BlockWords(block)); }
  int64_t Offset(int64_t block, int64_t row) const {
    return block * Dot::XWords(Dot::kBlockWords) * tiling.rows + row * BlockXWords(block);
  }

  RowTiling tiling;
  int64_t words;
  int64_t blocks;
};

using FourWords = uint32_t __attribute__((vector_size(16)));

inline FourWords LoadFour(const uint32_t* from) {
  FourWords words;
  __builtin_memcpy(&words, from, sizeof(words));
  return words;
}
inline void StoreFour(FourWords words, uint32_t* to) {
  __builtin_memcpy(to, &words, sizeof(words));
}

// Words [i, i + 4) of four rows to four places that are `stride` words apart.
template <size_t kWords>
void TransposeFour(const uint32_t (*rows)[kWords], int64_t i, int64_t stride, uint32_t* to) {
  const FourWords a = LoadFour(rows[0] + i);
  const FourWords b = LoadFour(rows[1] + i);
  const FourWords c = LoadFour(rows[2] + i);
  const FourWords d = LoadFour(rows[3] + i);
  const FourWords low_ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const FourWords low_cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const FourWords high_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const FourWords high_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  StoreFour(__builtin_shufflevector(low_ab, low_cd, 0, 1, 4, 5), to);
  StoreFour(__builtin_shufflevector(low_ab, low_cd, 2, 3, 6, 7), to + stride);
  StoreFour(__builtin_shufflevector(high_ab, high_cd, 0, 1, 4, 5), to + 2 * stride);
  StoreFour(__builtin_shufflevector(high_ab, high_cd, 2, 3, 6, 7), to + 3 * stride);
}

// (height, count) words to (count, height).
template <size_t kWords>
void Interleave(const uint32_t (*rows)[kWords], int64_t height, int64_t count, uint32_t* to) {
  for (int64_t r = 0; r < height; r += 4) {
    const int64_t num_rows = std::min<int64_t>(4, height - r);
    int64_t i = 0;
    for (; num_rows == 4 && i + 4 <= count; i += 4) {
      TransposeFour(rows + r, i, height, to + i * height + r);
    }
    for (; i < count; ++i) {
      for (int64_t row = r; row < r + num_rows; ++row) to[i * height + row] = rows[row][i];
    }
  }
}

template <class Dot>
void PackWords(const MatMulArgs& args, Range tiles, float* packed) {
  const WordRows<Dot> layout(args);
  const int64_t in_features = args.weight.in_features;
  alignas(64) uint32_t row_words[kTileRows][Dot::XWords(Dot::kBlockWords)];
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const Range rows = layout.tiling.RowsOf(tile);
    const int64_t height = rows.end - rows.begin;
    for (int64_t block = 0; block < layout.blocks; ++block) {
      const int64_t first = block * Dot::kBlockWords * Dot::kWordInputs;
      const int64_t inputs = std::min(Dot::kBlockWords * Dot::kWordInputs, in_features - first);
      for (int64_t r = 0; r < height; ++r) {
        Dot::Pack(args.x + (rows.begin + r) * in_features + first, inputs, row_words[r]);
      }
      auto* to = reinterpret_cast<uint32_t*>(packed) + layout.Offset(block, rows.begin);
      Interleave(row_words, height, layout.BlockXWords(block), to);
    }
  }
}

template <class Dot, int kPanels, int kRows = kTileRows>
void AddRows(int64_t rows, const WordBlock& block, float* sums) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return AddRows<Dot, kPanels, kRows - 1>(rows, block, sums);
  }
  Dot::template Add<kRows, kPanels>(block, sums);
}

// The block of a panel for picked columns, gathered to `to`: its words (words, 16), then its
// scales.
template <class Dot>
void GatherColumns(const MatMulArgs& args, int64_t panel, int64_t block, uint32_t* to,
                   WordBlock& gathered) {
  const PackedMatrix& weight = args.weight;
  const auto* weights = static_cast<const uint32_t*>(weight.weights);
  auto* scales = reinterpret_cast<float*>(to + Dot::kBlockWords * kPanelCols);
  const int64_t in = block * Dot::kBlockWords * Dot::kWordInputs;
  const int64_t inputs = gathered.words * Dot::kWordInputs;
  std::fill_n(to, Dot::kBlockWords * kPanelCols, 0);
  for (int64_t lane = 0; lane < kPanelCols; ++lane) {
    const int64_t column = panel * kPanelCols + lane;
    if (column >= args.out_cols) break;
    const int64_t out = args.column_ids[column];
    const int64_t from = weight.ElementIndex(out, in) / Dot::kWordInputs;
    for (int64_t i = 0; i < gathered.words; ++i) {
      to[i * kPanelCols + lane] = weights[from + i * kPanelCols];
    }
    for (int64_t i = 0; weight.scales != nullptr && i < inputs; i += kInt8Group) {
      scales[i / kInt8Group * kPanelCols + lane] = weight.scales[weight.ScaleIndex(out, in + i)];
    }
  }
  gathered.weights = to;
  gathered.scales = scales;
}

// Block b of the weights of kPanels panels from `panel` on; of a gate's and an up's, which lie as
// far from each other as there are outputs.
template <class Dot>
WordBlock WeightBlock(const MatMulArgs& args, const WordRows<Dot>& layout, int64_t panel,
                      int64_t b) {
  const auto* weights = static_cast<const uint32_t*>(args.weight.weights);
  WordBlock block{};
  const int64_t apart = args.gate != nullptr ? args.out_panels() : 1;
  const int64_t panel_words = layout.words * kPanelCols;
  block.panel_words = apart * panel_words;
  block.words = layout.BlockWords(b);
  block.weights = weights + panel * panel_words + b * Dot::kBlockWords * kPanelCols;
  if (args.weight.scales == nullptr) return block;
  constexpr int64_t kBlockScales = Dot::kBlockWords * Dot::kWordInputs / kInt8Group * kPanelCols;
  const int64_t panel_scales = args.weight.groups() * kPanelCols;
  block.panel_scales = apart * panel_scales;
  block.scales = args.weight.scales + panel * panel_scales + b * kBlockScales;
  return block;
}

// How many words after its own a block fetches: in a short panel the same block of the next panels,
// which are `step` panels on, else, for one tile, the words that it meets soon, for several the
// next block.
template <class Dot, int kPanels>
int64_t WordsAhead(const WordRows<Dot>& layout, int64_t b, int64_t step, bool one_tile) {
  if (kPanels > 1 && layout.words <= kShortPanelWords) return step * layout.words;
  if (one_tile) return kAheadWords;
  if (b + 1 < layout.blocks) return Dot::kBlockWords;
  return step * layout.words - b * Dot::kBlockWords;
}

// What the tile-th of `tiles` tiles that meet block b fetches meanwhile: of several each for one
// panel, so that memory is asked evenly.
template <int kPanels>
void SetNext(int64_t words_ahead, int64_t tile, int64_t tiles, WordBlock& block) {
  for (int p = 0; p < kPanels; ++p) {
    const bool fetches = tiles == 1 || tile == p;
    block.next[p] =
        block.weights + p * block.panel_words + (fetches ? words_ahead * kPanelCols : 0);
  }
}

// Asks for the outputs of a tile, which are written a little later.
template <int kPanels>
void FetchOutputs(const MatMulArgs& args, int64_t panel, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* out = args.out + row * args.out_cols + panel * kPanelCols;
    for (int p = 0; p < kPanels; ++p) __builtin_prefetch(out + p * kPanelCols, /*rw=*/1);
  }
}

// Finishes the outputs of a tile; sums: (rows, kPanels, 16).
template <class Dot, int kPanels>
void StoreTile(const MatMulArgs& args, int64_t panel, Range rows, const float* sums) {
  if (kPanels == kTilePanels && args.gate != nullptr) {
    const int64_t first = panel * kPanelCols;
    const float* bias = args.bias == nullptr ? nullptr : args.bias + first;
    return args.gate({sums, rows.end - rows.begin, bias,
                      args.out + rows.begin * args.out_cols + first, args.out_cols});
  }
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int p = 0; p < kPanels; ++p, sums += kPanelCols) Dot::Store(args, row, panel + p, sums);
  }
}

// kPanels panels from `panel` on, for the rows of some tiles.
template <class Dot, int kPanels>
void WordPanels(const MatMulArgs& args, const float* packed, int64_t panel, Range tiles,
                float* scratch) {
  const WordRows<Dot> layout(args);
  const int64_t num_tiles = tiles.end - tiles.begin;
  const int64_t first_row = layout.tiling.RowsOf(tiles.begin).begin;
  const int64_t step = args.gate != nullptr ? 1 : kPanels;
  float* all_sums = scratch;  // (rows, panels, 16)
  auto* gathered = reinterpret_cast<uint32_t*>(scratch + kMaxTaskRows * kTilePanels * kPanelCols);
  for (int64_t b = 0; b < layout.blocks; ++b) {
    const bool last = b + 1 == layout.blocks;
    WordBlock block = WeightBlock(args, layout, panel, b);
    if (args.column_ids != nullptr) GatherColumns<Dot>(args, panel, b, gathered, block);
    const int64_t ahead = WordsAhead<Dot, kPanels>(layout, b, step, num_tiles == 1);
    for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
      const Range rows = layout.tiling.RowsOf(tile);
      float* sums = all_sums + (rows.begin - first_row) * kPanels * kPanelCols;
      if (b == 0) std::fill_n(sums, (rows.end - rows.begin) * kPanels * kPanelCols, 0.0f);
      if (last && num_tiles > 1) FetchOutputs<kPanels>(args, panel, rows);
      SetNext<kPanels>(ahead, tile - tiles.begin, num_tiles, block);
      block.x = reinterpret_cast<const uint32_t*>(packed) + layout.Offset(b, rows.begin);
      AddRows<Dot, kPanels>(rows.end - rows.begin, block, sums);
      if (last) StoreTile<Dot, kPanels>(args, panel, rows, sums);
    }
  }
}

template <class Dot>
void WordTiles(const MatMulArgs& args, const float* packed, Range panels, Range tiles,
               float* scratch) {
  int64_t panel = panels.begin;
  if (args.column_ids == nullptr && args.rows > kOneStreamRows) {
    const int64_t step = args.gate != nullptr ? 1 : kTilePanels;
    for (; panel + step <= panels.end; panel += step) {
      WordPanels<Dot, kTilePanels>(args, packed, panel, tiles, scratch);
    }
  }
  for (; panel < panels.end; ++panel) WordPanels<Dot, 1>(args, packed, panel, tiles, scratch);
}

}  // namespace
}  // namespace spade
