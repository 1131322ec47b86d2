#pragma once

#include "engine/model/activations.h"
#include "engine/model/row_batch.h"
#include "engine/model/weights.h"
#include "kernels/backend.h"

namespace spade {

// What one layer works with, besides the rows.
struct DecoderLayer {
  Backend& backend;
  const ModelConfig& config;  // of a shard (ShardOf)
  const LayerWeights& weights;
  KvView kv;            // read and written by paged rows
  KvView scratch = {};  // the same, of those whose blocks are the scratch's
  StartView start;      // read by SPADE rows
  bool last = false;    // of the model: rows that want no output are dropped
};

// Runs the layer over x.hidden, in place. SPADE rows (arXiv 2507.17618) share every matmul with the
// paged rows; only what they attend to differs. In the last layer, rows that want no output leave
// `batch` and `x` once their keys and values are stored; the results of the others are the same to
// the bit on a batch-invariant backend.
void RunDecoderLayer(const DecoderLayer& layer, RowBatch& batch, Activations& x);

}  // namespace spade
