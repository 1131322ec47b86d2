// CudaBackend: the cache and attention over it.
#include <bit>

#include "kernels/check.h"
#include "kernels/cuda/cuda_backend.h"

namespace spade {
namespace {

// Blocks of one wave on a processor, about. With more tiles than that, a block a tile is enough.
constexpr int64_t kBlocksPerProcessor = 4;

// Blocks beyond a tile's last split end at once. In steps of a quarter or less, so that growing
// contexts rarely change the shape of a launch.
int32_t SplitsFor(int32_t max_position) {
  const auto splits = static_cast<uint32_t>(max_position / cuda::kSplitPositions + 1);
  const uint32_t step = std::max(1u, std::bit_floor(splits) / 4);
  return static_cast<int32_t>((splits + step - 1) / step * step);
}

}  // namespace

// They round queries, as F32 products may not, and their bits are not those of a row that decodes.
bool CudaBackend::UsesTensorCores(const HeadLayout& heads, DType kv) const {
  return compute_ != Compute::kF32 && !batch_invariant_ && cuda::FitsTensorCores(heads, kv);
}

// The two batches of a step are the same at every layer: they go over once.
void CudaBackend::PrepareBatch(const BatchView& batch, const HeadLayout& heads, DType kv) {
  SPADE_CHECK(heads.q_heads % heads.kv_heads == 0);
  const cuda::TilePolicy policy = {heads.q_heads / heads.kv_heads, UsesTensorCores(heads, kv)};
  if (IsPlanned(*planned_now_, batch, policy)) return;
  planned_now_ = &planned_[planned_now_ == planned_.data() ? 1 : 0];
  if (IsPlanned(*planned_now_, batch, policy)) return;
  cuda::BatchPlan& plan = planned_now_->plan;
  plan.Update(batch, policy);
  planned_now_->positions = batch.positions;
  const std::span<const int32_t> parts[] = {plan.tiles(), plan.positions(), plan.sequences(),
                                            plan.block_tables()};
  planned_now_->on_device = planned_now_->courier.Send(parts);
}

// Within a repeatable run lists are known by where they are; else they are compared.
bool CudaBackend::IsPlanned(PlannedBatch& planned, const BatchView& batch,
                            const cuda::TilePolicy& policy) const {
  const bool is_known = repeating_ && planned.positions.data() == batch.positions.data() &&
                        planned.positions.size() == batch.positions.size() &&
                        planned.plan.policy() == policy;
  if (is_known) return true;
  if (!planned.plan.IsPlanned(batch, policy)) return false;
  planned.positions = batch.positions;
  return true;
}

cuda::StoreKvArgs CudaBackend::PlanStore(Tensor qkv, const HeadLayout& heads,
                                         const BatchView& batch, KvView kv) {
  SPADE_CHECK(qkv.rows == batch.rows() && qkv.cols == heads.qkv_cols());
  SPADE_CHECK(kv.dtype == DType::kF32 || kv.dtype == DType::kBF16);
  PrepareBatch(batch, heads, kv.dtype);
  const cuda::BatchPlan& plan = planned_now_->plan;
  const int32_t* positions = planned_now_->on_device + plan.tiles().size();
  const int32_t* sequences = positions + qkv.rows;
  return {static_cast<const float*>(qkv.data),
          heads,
          positions,
          sequences,
          sequences + qkv.rows,
          plan.table_stride(),
          qkv.rows,
          kv};
}

void CudaBackend::StoreKv(Tensor qkv, const HeadLayout& heads, const BatchView& batch, KvView kv) {
  if (qkv.rows == 0) return;
  const cuda::StoreKvArgs args = PlanStore(qkv, heads, batch, kv);
  if (Notes(Operation::kStoreKv, args)) return;
  cuda::StoreKv(args, stream_);
}

void CudaBackend::RopeAndStoreKv(Tensor qkv, const HeadLayout& heads, const QkNorm& norm,
                                 Tensor angles, const BatchView& batch, KvView kv) {
  if (qkv.rows == 0) return;
  const cuda::RopeArgs rope = RopeArgsOf(qkv, heads, norm, angles);
  const cuda::StoreKvArgs store = PlanStore(qkv, heads, batch, kv);
  if (Notes(Operation::kRopeAndStoreKv, rope, store)) return;
  cuda::RopeAndStoreKv(rope, store, stream_);
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
  args.table_stride = plan.table_stride();
  args.kv = kv;
  args.out = static_cast<float*>(out.data);
  Attend(plan.single_rows(), args);
  Attend(plan.several_rows(), args);
  const cuda::TileGroup& tensor = plan.tensor_rows();
  args.tiles = TilesOf(tensor);
  args.num_tiles = tensor.count;
  if (tensor.count == 0 || Notes(Operation::kTensorAttention, args)) return;
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
  args.max_splits = SplitsFor(group.max_position);
  const bool fits = cuda::PartialFloats(args) * sizeof(float) <= scratch_.size();
  const bool is_small =
      int64_t{group.count} * args.heads.kv_heads < kBlocksPerProcessor * num_processors_;
  const bool is_decode = &group == &planned_now_->plan.single_rows();
  if (args.max_splits > 1 && fits && (is_decode || is_small)) {
    args.partials = static_cast<float*>(scratch_.data());
  }
  if (Notes(Operation::kAttention, args)) return;
  cuda::Attention(args, stream_);
}

}  // namespace spade
