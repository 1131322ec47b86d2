#include "engine/model/activations.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "kernels/check.h"

namespace spade {
namespace {

// Tensors start on this boundary, which suits every backend's vector loads.
constexpr int64_t kAlignment = 256;

int64_t AlignedBytes(const Tensor& tensor) {
  return (static_cast<int64_t>(tensor.bytes()) + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

absl::StatusOr<Activations> Activations::Create(Backend& backend, const ModelConfig& config,
                                                int64_t max_rows) {
  const HeadLayout heads = config.heads();
  Activations x;
  x.max_rows = max_rows;
  x.hidden.cols = x.normed.cols = config.hidden_size;
  x.angles.cols = heads.head_dim;
  x.qkv.cols = heads.qkv_cols();
  x.attended.cols = heads.q_cols();
  x.gate_up.cols = 2 * int64_t{config.intermediate_size};
  x.gated.cols = config.intermediate_size;
  x.Resize(max_rows);

  Tensor* const tensors[] = {&x.hidden,   &x.normed,  &x.angles, &x.qkv,
                             &x.attended, &x.gate_up, &x.gated};
  int64_t bytes = 0;
  for (const Tensor* tensor : tensors) bytes += AlignedBytes(*tensor);
  SPADE_ASSIGN_OR_RETURN(x.storage, backend.Allocate(static_cast<size_t>(bytes)));
  auto* next = static_cast<std::byte*>(x.storage.data());
  for (Tensor* tensor : tensors) {
    tensor->data = next;
    next += AlignedBytes(*tensor);
  }
  x.row_list.reserve(static_cast<size_t>(max_rows));
  x.target_list.reserve(static_cast<size_t>(max_rows));
  return x;
}

void Activations::Resize(int64_t rows) {
  SPADE_CHECK(rows >= 0 && rows <= max_rows);
  for (Tensor* tensor : {&hidden, &normed, &angles, &qkv, &attended, &gate_up, &gated}) {
    tensor->rows = rows;
  }
}

}  // namespace spade
