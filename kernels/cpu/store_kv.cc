#include <type_traits>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/attention_tile.h"

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
  const KvRow at = FindKvRow(args, row);
  for (int64_t head = 0; head < heads.kv_heads; ++head) {
    const int64_t base = (at.block * heads.kv_heads + head) * dim * block_size;
    T* keys = static_cast<T*>(args.kv.keys) + base;
    T* values = static_cast<T*>(args.kv.values) + base;
    for (int64_t i = 0; i < dim; ++i) {
      keys[i * block_size + at.slot] = Convert<T>(at.key[head * dim + i]);
      values[at.slot * dim + i] = Convert<T>(at.value[head * dim + i]);
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
