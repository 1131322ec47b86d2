#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"

namespace spade::cuda {

// CUDA graphs of what was queued on a stream, found by a signature. What comes for the second time
// is captured, and replayed from then on: by then all kernels are loaded, and what comes once costs
// nothing. Bounded by number, and it takes no memory where little is left; the least recently used
// graph makes room.
class GraphCache {
 public:
  GraphCache(cudaStream_t stream, int32_t max_graphs) : stream_(stream), max_graphs_(max_graphs) {}
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;
  ~GraphCache();

  // Queues what `launch` does, which is the same, with the same arguments, whenever `signature` is.
  void Run(uint64_t signature, absl::FunctionRef<void()> launch);

  // Device memory to be left for the graphs that are still to come.
  int64_t MissingBytes() const;

 private:
  struct Graph {
    uint64_t signature = 0;
    cudaGraphExec_t exec = nullptr;
    int64_t last_use = 0;
  };

  Graph* Find(uint64_t signature);
  bool WasSeen(uint64_t signature) const;
  bool MakeRoom();
  void DropOldest();
  cudaGraphExec_t Capture(absl::FunctionRef<void()> launch);
  void Replay(Graph& graph);

  const cudaStream_t stream_;
  const int32_t max_graphs_;
  std::vector<Graph> graphs_;
  int64_t num_uses_ = 0;
  std::array<uint64_t, 256> seen_{};  // the last ones that came for the first time
  size_t next_seen_ = 0;
};

}  // namespace spade::cuda
