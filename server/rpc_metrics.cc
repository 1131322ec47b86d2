#include "server/rpc_metrics.h"

#include <algorithm>
#include <string>

namespace spade {
namespace {

constexpr char kNative[] = "spade.v1.InferenceService";
constexpr char kVllmEngine[] = "vllm.grpc.engine.VllmEngine";
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
};

// In the order of the codes' numbers, spelt as other servers' exporters spell them.
constexpr const char* kCodes[] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

}  // namespace

const char* NameOf(RpcMethod method) { return kMethods[static_cast<size_t>(method)].name; }

RpcMetrics::RpcMetrics(prometheus::Registry* registry) {
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

}  // namespace spade
