#include "engine/model/decoder_layer.h"

#include "kernels/check.h"

namespace spade {
namespace {

// fn(rows, first row, where their keys and values are) for the pool's rows and for the scratch's.
template <typename Fn>
void ForEachPagedPart(const DecoderLayer& layer, const RowBatch& batch, const Fn& fn) {
  const BatchView pool = batch.Pool();
  if (pool.rows() > 0) fn(pool, int64_t{0}, layer.kv);
  if (pool.rows() == batch.paged_rows()) return;
  SPADE_DCHECK(layer.scratch.keys != nullptr);
  fn(batch.Scratch(), pool.rows(), layer.scratch);
}

// SPADE rows have no place in a cache.
void RotateAndStore(const DecoderLayer& layer, const RowBatch& batch, const Activations& x) {
  const HeadLayout heads = layer.config.heads();
  const LayerWeights& w = layer.weights;
  const QkNorm norm{w.q_norm.data(), w.k_norm.data(), layer.config.rms_norm_epsilon};
  ForEachPagedPart(layer, batch, [&](const BatchView& rows, int64_t first, const KvView& kv) {
    layer.backend.RopeAndStoreKv(x.qkv.Slice(first, rows.rows()), heads, norm,
                                 x.angles.Slice(first, rows.rows()), rows, kv);
  });
  if (batch.spade_rows == 0) return;
  const int64_t paged = batch.paged_rows();
  layer.backend.Rope(x.qkv.Slice(paged, batch.spade_rows), heads, norm,
                     x.angles.Slice(paged, batch.spade_rows));
}

void DropRowsWithoutOutput(Backend& backend, RowBatch& batch, Activations& x) {
  x.row_list.clear();
  for (int32_t row = 0; row < batch.rows(); ++row) {
    if (batch.wants_output[static_cast<size_t>(row)] != 0) x.row_list.push_back(row);
  }
  const auto kept = static_cast<int64_t>(x.row_list.size());
  if (kept == batch.rows()) return;
  backend.GatherRows(x.hidden, x.row_list, x.hidden.Slice(0, kept));
  backend.GatherRows(x.qkv, x.row_list, x.qkv.Slice(0, kept));
  batch.Keep(x.row_list);
  x.Resize(kept);
}

void Attend(const DecoderLayer& layer, const RowBatch& batch, Activations& x) {
  const HeadLayout heads = layer.config.heads();
  const int64_t paged = batch.paged_rows();
  ForEachPagedPart(layer, batch, [&](const BatchView& rows, int64_t first, const KvView& kv) {
    layer.backend.Attention(x.qkv.Slice(first, rows.rows()), heads, rows, kv,
                            x.attended.Slice(first, rows.rows()));
  });
  if (batch.spade_rows > 0) {
    layer.backend.StartSelfAttention(x.qkv.Slice(paged, batch.spade_rows), heads, layer.start,
                                     x.attended.Slice(paged, batch.spade_rows));
  }
}

}  // namespace

void RunDecoderLayer(const DecoderLayer& layer, RowBatch& batch, Activations& x) {
  Backend& backend = layer.backend;
  const LayerWeights& w = layer.weights;
  const float epsilon = layer.config.rms_norm_epsilon;

  backend.NormMatMul(x.hidden, {w.attention_norm.data(), epsilon}, w.qkv, w.qkv_bias.data(),
                     x.normed, x.qkv);
  RotateAndStore(layer, batch, x);
  if (layer.last) DropRowsWithoutOutput(backend, batch, x);
  if (x.rows() == 0) return;
  Attend(layer, batch, x);
  backend.MatMul(x.attended, w.output, {.bias = w.output_bias.data(), .accumulate = true},
                 x.hidden);
  backend.NormGateUp(x.hidden, {w.mlp_norm.data(), epsilon}, w.gate_up, w.gate_up_bias.data(),
                     x.normed, x.gate_up, x.gated);
  backend.MatMul(x.gated, w.down, {.bias = w.down_bias.data(), .accumulate = true}, x.hidden);
}

}  // namespace spade
