#include "kernels/cuda/graph_cache.h"

#include <algorithm>

#include "kernels/cuda/cuda_check.h"

namespace spade::cuda {
namespace {

// About what the driver takes for a stage's launches on the device.
constexpr int64_t kGraphBytes = int64_t{1} << 20;
// With less left nothing is captured: cuBLAS, lists and kernels still to be loaded come first.
constexpr size_t kMinFreeBytes = size_t{64} << 20;

}  // namespace

GraphCache::~GraphCache() {
  for (const Graph& graph : graphs_) (void)cudaGraphExecDestroy(graph.exec);
}

int64_t GraphCache::MissingBytes() const {
  return kGraphBytes * (max_graphs_ - static_cast<int64_t>(graphs_.size()));
}

void GraphCache::Run(uint64_t signature, absl::FunctionRef<void()> launch) {
  if (Graph* graph = Find(signature); graph != nullptr) return Replay(*graph);
  if (!WasSeen(signature)) {
    seen_[next_seen_++ % seen_.size()] = signature;
    return launch();
  }
  const cudaGraphExec_t exec = MakeRoom() ? Capture(launch) : nullptr;
  if (exec == nullptr) return launch();
  Replay(graphs_.emplace_back(Graph{signature, exec}));
}

GraphCache::Graph* GraphCache::Find(uint64_t signature) {
  const auto graph = std::ranges::find(graphs_, signature, &Graph::signature);
  return graph == graphs_.end() ? nullptr : &*graph;
}

bool GraphCache::WasSeen(uint64_t signature) const {
  return std::ranges::find(seen_, signature) != seen_.end();
}

// Whether one more may be captured.
bool GraphCache::MakeRoom() {
  size_t free = 0;
  size_t total = 0;
  CheckCuda(cudaMemGetInfo(&free, &total), "free memory of the GPU");
  const bool is_low = free < kMinFreeBytes;
  if (!graphs_.empty() && (is_low || std::ssize(graphs_) >= max_graphs_)) DropOldest();
  return !is_low;
}

// One under way ends first; its memory is free then.
void GraphCache::DropOldest() {
  const auto oldest = std::ranges::min_element(graphs_, {}, &Graph::last_use);
  CheckCuda(cudaGraphExecDestroy(oldest->exec), "end of a graph");
  *oldest = graphs_.back();
  graphs_.pop_back();
}

// Null where there is no memory for it; nothing was queued then.
cudaGraphExec_t GraphCache::Capture(absl::FunctionRef<void()> launch) {
  CheckCuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "begin of a graph");
  launch();
  cudaGraph_t graph = nullptr;
  CheckCuda(cudaStreamEndCapture(stream_, &graph), "capture of a graph");
  cudaGraphExec_t exec = nullptr;
  cudaError_t error = cudaGraphInstantiate(&exec, graph, 0);
  if (error == cudaSuccess) {
    error = cudaGraphUpload(exec, stream_);  // what it takes on the device, now
    if (error != cudaSuccess) {
      (void)cudaGraphExecDestroy(exec);
      exec = nullptr;
    }
  }
  CheckCuda(cudaGraphDestroy(graph), "end of a capture");
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();  // or the next launch would report it
    return nullptr;
  }
  CheckCuda(error, "making of a graph");
  return exec;
}

void GraphCache::Replay(Graph& graph) {
  graph.last_use = ++num_uses_;
  CheckCuda(cudaGraphLaunch(graph.exec, stream_), "launch of a graph");
}

}  // namespace spade::cuda
