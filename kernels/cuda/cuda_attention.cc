// CudaBackend: the cache and attention over it.
#include "kernels/check.h"
#include "kernels/cuda/cuda_backend.h"

namespace spade {
namespace {

// Blocks of one wave on a processor, about. With more tiles than that, a block a tile is enough.
constexpr int64_t kBlocksPerProcessor = 4;

}  // namespace

// They round queries, as F32 products may not, and their bits are not those of a row that decodes.
bool CudaBackend::UsesTensorCores(const HeadLayout& heads, DType kv) const {
  return compute_ == Compute::kBF16 && !batch_invariant_ && cuda::FitsTensorCores(heads, kv);
}

// The two batches of a step are the same at every layer: they go over once.
void CudaBackend::PrepareBatch(const BatchView& batch, const HeadLayout& heads, DType kv) {
  SPADE_CHECK(heads.q_heads % heads.kv_heads == 0);
  const cuda::TilePolicy policy = {heads.q_heads / heads.kv_heads, UsesTensorCores(heads, kv)};
  if (planned_now_->plan.IsPlanned(batch, policy)) return;
  planned_now_ = &planned_[planned_now_ == planned_.data() ? 1 : 0];
  const cuda::BatchPlan& plan = planned_now_->plan;
  if (!planned_now_->plan.Update(batch, policy)) return;
  const std::span<const int32_t> parts[] = {plan.tiles(), plan.positions(), plan.sequences(),
                                            plan.block_tables()};
  planned_now_->on_device = planned_now_->courier.Send(parts);
}

void CudaBackend::StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv) {
  SPADE_CHECK(qkv.rows == batch.rows() && qkv.cols == heads.qkv_cols());
  SPADE_CHECK(kv.dtype == DType::kF32 || kv.dtype == DType::kBF16);
  if (qkv.rows == 0) return;
  PrepareBatch(batch, heads, kv.dtype);
  const int32_t* positions = planned_now_->on_device + planned_now_->plan.tiles().size();
  const int32_t* sequences = positions + qkv.rows;
  cuda::StoreKv({static_cast<const float*>(qkv.data), heads, positions, sequences,
                 sequences + qkv.rows, batch.table_stride, qkv.rows, kv},
                stream_);
}

void CudaBackend::Attention(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv,
                            Tensor out) {
  SPADE_CHECK(qkv.rows == batch.rows() && qkv.cols == heads.qkv_cols());
  SPADE_CHECK(out.rows == qkv.rows && out.cols == heads.q_cols());
  SPADE_CHECK(heads.head_dim % 8 == 0 && heads.head_dim <= cuda::kMaxHeadDim);
  SPADE_CHECK(kv.dtype == DType::kF32 || kv.dtype == DType::kBF16);
  if (qkv.rows == 0) return;
  PrepareBatch(batch, heads, kv.dtype);
  cuda::AttentionArgs args;
  args.qkv = static_cast<const float*>(qkv.data);
  args.heads = heads;
  const cuda::BatchPlan& plan = planned_now_->plan;
  args.positions = planned_now_->on_device + plan.tiles().size();
  args.sequences = args.positions + qkv.rows;
  args.block_tables = args.sequences + qkv.rows;
  args.table_stride = batch.table_stride;
  args.kv = kv;
  args.out = static_cast<float*>(out.data);
  Attend(plan.single_rows(), args);
  Attend(plan.several_rows(), args);
  const cuda::TileGroup& tensor = plan.tensor_rows();
  args.tiles = TilesOf(tensor);
  args.num_tiles = tensor.count;
  cuda::TensorAttention(args, stream_);
}

const cuda::AttentionTile* CudaBackend::TilesOf(const cuda::TileGroup& group) const {
  return reinterpret_cast<const cuda::AttentionTile*>(planned_now_->on_device) + group.first;
}

// A block a split for decode, whose contexts differ in length, and wherever a block a tile would
// leave processors idle.
void CudaBackend::Attend(const cuda::TileGroup& group, cuda::AttentionArgs args) {
  if (group.count == 0) return;
  args.tiles = TilesOf(group);
  args.num_tiles = group.count;
  args.tile_queries = group.queries;
  args.max_splits = group.max_position / cuda::kSplitPositions + 1;
  const bool fits = cuda::PartialFloats(args) * sizeof(float) <= scratch_.size();
  const bool is_small =
      int64_t{group.count} * args.heads.kv_heads < kBlocksPerProcessor * num_processors_;
  const bool is_decode = &group == &planned_now_->plan.single_rows();
  if (args.max_splits > 1 && fits && (is_decode || is_small)) {
    args.partials = static_cast<float*>(scratch_.data());
  }
  cuda::Attention(args, stream_);
}

}  // namespace spade
