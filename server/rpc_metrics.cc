#include "server/rpc_metrics.h"

#include <algorithm>
#include <string>
#include <utility>

namespace spade {
namespace {

constexpr char kNative[] = "spade.v1.InferenceService";
constexpr char kVllmEngine[] = "vllm.grpc.engine.VllmEngine";
constexpr char kAdmin[] = "spade.v1.Admin";
constexpr char kOpenInference[] = "inference.GRPCInferenceService";

struct MethodName {
  const char* service;
  const char* name;
  const char* type;
};

// In RpcMethod's order.
constexpr MethodName kMethods[kNumRpcMethods] = {
    {kNative, "Generate", "server_stream"},
    {kNative, "Decide", "server_stream"},
    {kNative, "DecideStream", "bidi_stream"},
    {kNative, "Tokenize", "unary"},
    {kNative, "Detokenize", "unary"},
    {kNative, "GetModel", "unary"},
    {kNative, "GetServerInfo", "unary"},
    {kOpenInference, "ServerLive", "unary"},
    {kOpenInference, "ServerReady", "unary"},
    {kOpenInference, "ModelReady", "unary"},
    {kOpenInference, "ServerMetadata", "unary"},
    {kOpenInference, "ModelMetadata", "unary"},
    {kOpenInference, "ModelConfig", "unary"},
    {kOpenInference, "RepositoryIndex", "unary"},
    {kOpenInference, "ModelInfer", "unary"},
    {kOpenInference, "ModelStreamInfer", "bidi_stream"},
    {kVllmEngine, "Generate", "server_stream"},
    {kVllmEngine, "Embed", "unary"},
    {kVllmEngine, "HealthCheck", "unary"},
    {kVllmEngine, "Abort", "unary"},
    {kVllmEngine, "GetModelInfo", "unary"},
    {kVllmEngine, "GetServerInfo", "unary"},
    {kVllmEngine, "GetLoads", "unary"},
    {kVllmEngine, "GetTokenizer", "server_stream"},
    {kAdmin, "ListRequests", "unary"},
};

// In the order of the codes' numbers, spelt as other servers' exporters spell them.
constexpr const char* kCodes[] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

// What is there from the start, so that rates see the first one.
constexpr std::pair<absl::StatusCode, Reason> kUsualFailures[] = {
    {absl::StatusCode::kInvalidArgument, Reason::kInvalid},
    {absl::StatusCode::kFailedPrecondition, Reason::kNoCertificate},
    {absl::StatusCode::kResourceExhausted, Reason::kQueueRequests},
    {absl::StatusCode::kResourceExhausted, Reason::kQueueTokens},
    {absl::StatusCode::kResourceExhausted, Reason::kDisplaced},
    {absl::StatusCode::kResourceExhausted, Reason::kQueueTime},
    {absl::StatusCode::kResourceExhausted, Reason::kQueueForecast},
    {absl::StatusCode::kResourceExhausted, Reason::kMemory},
    {absl::StatusCode::kResourceExhausted, Reason::kTenantLimit},
    {absl::StatusCode::kDeadlineExceeded, Reason::kDeadlineWaits},
    {absl::StatusCode::kDeadlineExceeded, Reason::kDeadlineRuns},
    {absl::StatusCode::kCancelled, Reason::kCancelled},
    {absl::StatusCode::kCancelled, Reason::kStalledClient},
    {absl::StatusCode::kUnavailable, Reason::kLoading},
    {absl::StatusCode::kUnavailable, Reason::kDraining},
    {absl::StatusCode::kUnavailable, Reason::kShutDown},
    {absl::StatusCode::kInternal, Reason::kNotFinite},
    {absl::StatusCode::kInternal, Reason::kInternal},
};

}  // namespace

const char* NameOf(RpcMethod method) { return kMethods[static_cast<size_t>(method)].name; }

RpcMetrics::RpcMetrics(prometheus::Registry* registry)
    : failures_(prometheus::BuildCounter()
                    .Name("spade_failures_total")
                    .Help("Requests that were refused or ended early, by gRPC code and reason")
                    .Register(*registry)) {
  for (const auto& [code, reason] : kUsualFailures) Failure(code, reason);
  auto& started = prometheus::BuildCounter()
                      .Name("grpc_server_started_total")
                      .Help("RPCs started")
                      .Register(*registry);
  auto& handled = prometheus::BuildCounter()
                      .Name("grpc_server_handled_total")
                      .Help("RPCs completed, by status code")
                      .Register(*registry);
  auto& seconds = prometheus::BuildHistogram()
                      .Name("grpc_server_handling_seconds")
                      .Help("Time from an RPC's start to its end")
                      .Register(*registry);
  const prometheus::Histogram::BucketBoundaries buckets = {
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120};
  for (size_t i = 0; i < kNumRpcMethods; ++i) {
    const std::map<std::string, std::string> labels = {{"grpc_type", kMethods[i].type},
                                                       {"grpc_service", kMethods[i].service},
                                                       {"grpc_method", kMethods[i].name}};
    series_[i].started = &started.Add(labels);
    series_[i].seconds = &seconds.Add(labels, buckets);
    for (size_t code = 0; code < kNumCodes; ++code) {
      auto with_code = labels;
      with_code["grpc_code"] = kCodes[code];
      series_[i].handled[code] = &handled.Add(with_code);
    }
  }
}

void RpcMetrics::Started(RpcMethod method) {
  series_[static_cast<size_t>(method)].started->Increment();
}

void RpcMetrics::Handled(RpcMethod method, grpc::StatusCode code, double seconds) {
  const Series& series = series_[static_cast<size_t>(method)];
  series.seconds->Observe(seconds);
  series.handled[std::clamp<size_t>(code, 0, kNumCodes - 1)]->Increment();
}

// The family finds a series by its labels' texts, under a lock: too dear for when many are refused.
prometheus::Counter& RpcMetrics::Failure(absl::StatusCode code, Reason reason) {
  const auto index = std::clamp<size_t>(static_cast<size_t>(code), 0, kNumCodes - 1);
  auto& known = known_[index][static_cast<size_t>(reason)];
  prometheus::Counter* counter = known.load(std::memory_order_acquire);
  if (counter == nullptr) {
    counter =
        &failures_.Add({{"grpc_code", kCodes[index]}, {"reason", std::string(NameOf(reason))}});
    known.store(counter, std::memory_order_release);
  }
  return *counter;
}

void RpcMetrics::Failed(const absl::Status& status) {
  Failure(status.code(), ReasonOf(status)).Increment();
}

}  // namespace spade
