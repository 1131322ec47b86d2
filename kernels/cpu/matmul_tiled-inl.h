// Per-target part of matmul.cc: many rows. Limited by arithmetic, so a block of a panel is expanded
// to floats once, stays in the L1 cache, and meets all rows of the task in register tiles.
#if defined(SPADE_MATMUL_TILED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPADE_MATMUL_TILED_INL_H_
#undef SPADE_MATMUL_TILED_INL_H_
#else
#define SPADE_MATMUL_TILED_INL_H_
#endif

#include <algorithm>

#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/matmul_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace spade::HWY_NAMESPACE {
namespace {

// kMaxTileRows x kTileVecs accumulators leave registers for the weights and one broadcast of x.
inline constexpr int kTileVecs = HWY_MIN(2, kPanelCols / kLanes);
inline constexpr int kMaxTileRows = kTileVecs == 1 ? 12 : 6;

inline constexpr int64_t kHalfBlock = kBlockInputs / 2;

// The packed rows: for each block of inputs, for each tile: (even inputs, rows of the tile), then
// (odd inputs, rows of the tile).
struct PackedRows {
  explicit PackedRows(const MatMulArgs& args)
      : tiling(args.rows, kMaxTileRows), in_features(args.weight.in_features) {}

  int64_t BlockInputs(int64_t in) const { return std::min(kBlockInputs, in_features - in); }
  int64_t Offset(int64_t in, int64_t row) const { return in * tiling.rows + row * BlockInputs(in); }

  RowTiling tiling;
  int64_t in_features;
};

void PackRows(const MatMulArgs& args, Range tiles, float* packed) {
  const PackedRows layout(args);
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const Range rows = layout.tiling.RowsOf(tile);
    const int64_t stride = rows.end - rows.begin;
    for (int64_t in = 0; in < layout.in_features; in += kBlockInputs) {
      const int64_t inputs = layout.BlockInputs(in);
      float* even = packed + layout.Offset(in, rows.begin);
      float* odd = even + (inputs + 1) / 2 * stride;
      for (int64_t r = 0; r < stride; ++r) {
        const float* x = args.x + (rows.begin + r) * layout.in_features + in;
        for (int64_t i = 0; i + 1 < inputs; i += 2) {
          even[i / 2 * stride + r] = x[i];
          odd[i / 2 * stride + r] = x[i + 1];
        }
        if (inputs % 2 != 0) even[inputs / 2 * stride + r] = x[inputs - 1];
      }
    }
  }
}

// Expands the block of one panel at input `in` to expanded: (even inputs, 16) and, kHalfBlock rows
// on, (odd inputs, 16).
struct ExpandPanel {
  template <DType kType>
  void Run() const {
    using R = Reader<kType>;
    const DF d;
    const int64_t begin = in / 2;
    const int64_t end = std::min(begin + kHalfBlock, weight.pairs());
    const auto* pairs = static_cast<const typename R::Element*>(weight.weights) +
                        panel * weight.pairs() * R::kPairUnits;
    for (int64_t p = begin; p < end; ++p) {
      const int64_t group = (panel * weight.groups() + p / (kInt8Group / 2)) * kPanelCols;
      float* even = expanded + (p - begin) * kPanelCols;
      for (int lane = 0; lane < kPanelCols; lane += kLanes) {
        const VF scale = R::LoadScale(weight.scales, group + lane);
        const auto* pair = pairs + p * R::kPairUnits;
        hn::StoreU(R::Scale(R::Even(pair, lane), scale), d, even + lane);
        hn::StoreU(R::Scale(R::Odd(pair, lane), scale), d, even + kHalfBlock * kPanelCols + lane);
      }
    }
  }

  const PackedMatrix& weight;
  int64_t panel;
  int64_t in;
  float* expanded;
};

// The same for 16 columns picked from anywhere.
void ExpandColumns(const MatMulArgs& args, int64_t panel, int64_t in, float* expanded) {
  const int64_t inputs = std::min(kBlockInputs, args.weight.in_features - in);
  const int64_t first = panel * kPanelCols;
  for (int64_t lane = 0; lane < kPanelCols; ++lane) {
    for (int64_t i = 0; i < inputs; ++i) {
      const int64_t place = (i % 2 * kHalfBlock + i / 2) * kPanelCols + lane;
      expanded[place] = first + lane < args.out_cols
                            ? WeightAt(args.weight, args.column_ids[first + lane], in + i)
                            : 0.0f;
    }
  }
}

// sums (kRows, 16) += x (inputs, kRows)^T * weights (inputs, 16).
template <int kRows>
HWY_INLINE void AddTile(const float* HWY_RESTRICT x, const float* HWY_RESTRICT weights,
                        int64_t inputs, float* HWY_RESTRICT sums) {
  const DF d;
  for (int lane = 0; lane < kPanelCols; lane += kTileVecs * kLanes) {
    VF acc[kRows][kTileVecs];
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int v = 0; v < kTileVecs; ++v) acc[r][v] = hn::Zero(d);
    }
    for (int64_t i = 0; i < inputs; ++i) {
      VF weight[kTileVecs];
      HWY_UNROLL(16)
      for (int v = 0; v < kTileVecs; ++v) {
        weight[v] = hn::LoadU(d, weights + i * kPanelCols + lane + v * kLanes);
      }
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) {
        const VF broadcast = hn::Set(d, x[i * kRows + r]);
        HWY_UNROLL(16)
        for (int v = 0; v < kTileVecs; ++v) {
          acc[r][v] = hn::MulAdd(weight[v], broadcast, acc[r][v]);
        }
      }
    }
    HWY_UNROLL(16)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (int v = 0; v < kTileVecs; ++v) {
        float* sum = sums + r * kPanelCols + lane + v * kLanes;
        hn::StoreU(hn::Add(hn::LoadU(d, sum), acc[r][v]), d, sum);
      }
    }
  }
}

template <int kRows = kMaxTileRows>
void AddTileOfRows(int64_t rows, const float* x, const float* expanded, int64_t inputs,
                   float* sums) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return AddTileOfRows<kRows - 1>(rows, x, expanded, inputs, sums);
  }
  const int64_t even_inputs = (inputs + 1) / 2;
  AddTile<kRows>(x, expanded, even_inputs, sums);
  AddTile<kRows>(x + even_inputs * kRows, expanded + kHalfBlock * kPanelCols, inputs / 2, sums);
}

// Fetches one of `parts` parts of the block of weights that follows the one at (panel, in), so that
// memory is read while the tiles of this one are computed.
void PrefetchNextBlock(const PackedMatrix& weight, int64_t panel, int64_t in, int64_t part,
                       int64_t parts) {
  constexpr int64_t kCacheLine = 64;
  const int64_t block_bytes =
      kBlockInputs * kPanelCols * static_cast<int64_t>(SizeOf(weight.dtype));
  const int64_t lines = block_bytes / kCacheLine;
  const auto* block = static_cast<const char*>(weight.weights) +
                      panel * weight.panel_elements() * SizeOf(weight.dtype) +
                      (in / kBlockInputs + 1) * block_bytes;
  for (int64_t line = lines * part / parts; line < lines * (part + 1) / parts; ++line) {
    __builtin_prefetch(block + line * kCacheLine, /*rw=*/0, /*locality=*/2);
  }
}

void TiledPanel(const MatMulArgs& args, const float* packed, int64_t panel, Range tiles,
                float* scratch) {
  const PackedRows layout(args);
  const Range rows = {layout.tiling.RowsOf(tiles.begin).begin,
                      layout.tiling.RowsOf(tiles.end - 1).end};
  float* expanded = scratch;
  float* sums = scratch + kBlockInputs * kPanelCols;
  std::fill_n(sums, (rows.end - rows.begin) * kPanelCols, 0.0f);
  for (int64_t in = 0; in < layout.in_features; in += kBlockInputs) {
    if (args.column_ids != nullptr) {
      ExpandColumns(args, panel, in, expanded);
    } else {
      DispatchType(args.weight.dtype, ExpandPanel{args.weight, panel, in, expanded});
    }
    for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
      PrefetchNextBlock(args.weight, panel, in, tile - tiles.begin, tiles.end - tiles.begin);
      const Range tile_rows = layout.tiling.RowsOf(tile);
      AddTileOfRows(tile_rows.end - tile_rows.begin, packed + layout.Offset(in, tile_rows.begin),
                    expanded, layout.BlockInputs(in),
                    sums + (tile_rows.begin - rows.begin) * kPanelCols);
    }
  }
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    WriteOut(args, row, panel, sums + (row - rows.begin) * kPanelCols);
  }
}

void Tiled(const MatMulArgs& args, const float* packed, Range panels, Range tiles, float* scratch) {
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
    TiledPanel(args, packed, panel, tiles, scratch);
  }
}

}  // namespace
}  // namespace spade::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
