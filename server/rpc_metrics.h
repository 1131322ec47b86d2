#pragma once

#include <grpcpp/support/status_code_enum.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <atomic>

#include "absl/status/status.h"
#include "engine/base/reason.h"

namespace spade {

enum class RpcMethod {
  // spade.v1.InferenceService
  kGenerate,
  kDecide,
  kDecideStream,
  kTokenize,
  kDetokenize,
  kGetModel,
  kGetServerInfo,
  // inference.GRPCInferenceService
  kServerLive,
  kServerReady,
  kModelReady,
  kServerMetadata,
  kModelMetadata,
  kModelConfig,
  kRepositoryIndex,
  kModelInfer,
  kModelStreamInfer,
  // vllm.grpc.engine.VllmEngine
  kVllmGenerate,
  kVllmEmbed,
  kVllmHealthCheck,
  kVllmAbort,
  kVllmGetModelInfo,
  kVllmGetServerInfo,
  kVllmGetLoads,
  kVllmGetTokenizer,
  // spade.v1.Admin
  kListRequests,
};
inline constexpr size_t kNumRpcMethods = 25;

const char* NameOf(RpcMethod method);

// The series that generic gRPC dashboards query: grpc_server_started_total,
// grpc_server_handled_total{grpc_code} and grpc_server_handling_seconds, by method. All series
// exist from the start, so rates see a method's first call. Thread-safe.
class RpcMetrics {
 public:
  explicit RpcMetrics(prometheus::Registry* registry);  // outlives this

  void Started(RpcMethod method);
  void Handled(RpcMethod method, grpc::StatusCode code, double seconds);
  // Something was refused or ended early: a call, or one request of a stream that goes on. Counted
  // in spade_failures_total by code and reason.
  void Failed(const absl::Status& status);

 private:
  static constexpr size_t kNumCodes = 17;
  prometheus::Counter& Failure(absl::StatusCode code, Reason reason);

  struct Series {
    prometheus::Counter* started = nullptr;
    std::array<prometheus::Counter*, kNumCodes> handled = {};
    prometheus::Histogram* seconds = nullptr;
  };
  std::array<Series, kNumRpcMethods> series_;
  prometheus::Family<prometheus::Counter>& failures_;
  // Of failures_, by code and reason; null: not asked for yet.
  std::array<std::array<std::atomic<prometheus::Counter*>, kNumReasons>, kNumCodes> known_ = {};
};

}  // namespace spade
