#include <type_traits>

#include "kernels/cpu/attention_kernels.h"

namespace spade {
namespace {

template <class T>
T Convert(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    return FloatToBF16(value);
  }
}

template <class T>
void StoreRow(const AttentionArgs& args, int64_t row) {
  const HeadLayout& heads = args.heads;
  const int64_t dim = heads.head_dim;
  const int64_t block_size = args.kv.block_size;
  const int64_t position = args.batch.positions[row];
  const int64_t slot = position % block_size;
  const int64_t table = int64_t{args.batch.sequences[row]} * args.batch.table_stride;
  const int64_t block = args.batch.block_tables[table + position / block_size];
  const float* key = args.qkv + row * heads.qkv_cols() + heads.q_cols();
  const float* value = key + heads.kv_cols();
  for (int64_t head = 0; head < heads.kv_heads; ++head) {
    const int64_t base = (block * heads.kv_heads + head) * dim * block_size;
    T* keys = static_cast<T*>(args.kv.keys) + base;
    T* values = static_cast<T*>(args.kv.values) + base;
    for (int64_t i = 0; i < dim; ++i) {
      keys[i * block_size + slot] = Convert<T>(key[head * dim + i]);
      values[slot * dim + i] = Convert<T>(value[head * dim + i]);
    }
  }
}

}  // namespace

void StoreKvRow(const AttentionArgs& args, int64_t row) {
  if (args.kv.dtype == DType::kF32) {
    StoreRow<float>(args, row);
  } else {
    StoreRow<uint16_t>(args, row);
  }
}

}  // namespace spade
