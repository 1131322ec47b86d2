#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/buffer.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/logits.h"
#include "kernels/logit_reader.h"

namespace spade::cuda {

// The LogitReader of a CudaBackend. To the GPU cross 80 bytes a query, 8 an edit and 4 an allowed
// token, back 8 a query and 184 a score, in one copy each way by pinned memory.
class CudaLogitReader final : public LogitReader {
 public:
  explicit CudaLogitReader(cudaStream_t stream) : stream_(stream), courier_(stream) {}

  void Read(Tensor logits, const LogitReading& reading, std::span<LogitAnswer> answers) override;

 private:
  // Room for what the kernel writes; grows on demand, never in a steady state.
  void Reserve(size_t answer_bytes, const LogitReading& reading);
  int32_t ListAsks(const LogitReading& reading);
  void SendAsks(const LogitReading& reading, LogitArgs& args);

  const cudaStream_t stream_;
  Courier courier_;
  std::vector<LogitAsk> asks_;
  Buffer logits_;    // what edits replace, and what is allowed
  Buffer answers_;   // tokens, entropies, scores
  Buffer received_;  // the same, pinned
};

}  // namespace spade::cuda
