#include "server/infer/open_inference_service.h"

#include <memory>
#include <utility>

#include "engine/base/status_macros.h"
#include "server/infer/infer_reactor.h"
#include "server/infer/infer_stream_reactor.h"
#include "server/infer/model_catalog.h"

namespace spade {

grpc::ServerUnaryReactor* OpenInferenceService::ServerLive(
    grpc::CallbackServerContext* context, const ::inference::ServerLiveRequest*,
    ::inference::ServerLiveResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kServerLive, [&] {
    response->set_live(!service_.state->stalled());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* OpenInferenceService::ServerReady(
    grpc::CallbackServerContext* context, const ::inference::ServerReadyRequest*,
    ::inference::ServerReadyResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kServerReady, [&] {
    response->set_ready(service_.state->Health().ok());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelReady(
    grpc::CallbackServerContext* context, const ::inference::ModelReadyRequest* request,
    ::inference::ModelReadyResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kModelReady, [&]() -> absl::Status {
    const auto model = service_.state->Accept();
    if (!model.ok()) return absl::OkStatus();  // not ready is an answer
    SPADE_RETURN_IF_ERROR(FindModel((*model)->name, request->name(), request->version()).status());
    response->set_ready(true);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* OpenInferenceService::ServerMetadata(
    grpc::CallbackServerContext* context, const ::inference::ServerMetadataRequest*,
    ::inference::ServerMetadataResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kServerMetadata, [&] {
    response->set_name("spade");
    response->set_version(version_);
    response->add_extensions("model_repository");  // its index
    response->add_extensions("model_configuration");
    response->add_extensions("binary_tensor_data");
    response->add_extensions("parameters");
    response->add_extensions("schedule_policy");
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelMetadata(
    grpc::CallbackServerContext* context, const ::inference::ModelMetadataRequest* request,
    ::inference::ModelMetadataResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kModelMetadata, [&]() -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const ServedModel* served, service_.state->Loaded());
    SPADE_ASSIGN_OR_RETURN(const CatalogModel model,
                           FindModel(served->name, request->name(), request->version()));
    *response = DescribeTensors(model);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelConfig(
    grpc::CallbackServerContext* context, const ::inference::ModelConfigRequest* request,
    ::inference::ModelConfigResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kModelConfig, [&]() -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const ServedModel* served, service_.state->Loaded());
    SPADE_ASSIGN_OR_RETURN(const CatalogModel model,
                           FindModel(served->name, request->name(), request->version()));
    *response->mutable_config() = DescribeConfig(model);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* OpenInferenceService::RepositoryIndex(
    grpc::CallbackServerContext* context, const ::inference::RepositoryIndexRequest* request,
    ::inference::RepositoryIndexResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kRepositoryIndex, [&]() -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const ServedModel* served, service_.state->Loaded());
    const bool ready = service_.state->Accept().ok();
    if (request->ready() && !ready) return absl::OkStatus();
    for (const CatalogModel& model : Catalog(served->name)) {
      auto* index = response->add_models();
      index->set_name(model.name);
      index->set_version(std::string(kCatalogVersion));
      index->set_state(ready ? "READY" : "UNAVAILABLE");
      if (!ready) index->set_reason("draining");
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* OpenInferenceService::ModelInfer(
    grpc::CallbackServerContext* context, const ::inference::ModelInferRequest* request,
    ::inference::ModelInferResponse* response) {
  return InferReactor::Start(service_, context, *request, response);
}

grpc::ServerBidiReactor<::inference::ModelInferRequest, ::inference::ModelStreamInferResponse>*
OpenInferenceService::ModelStreamInfer(grpc::CallbackServerContext* context) {
  return InferStreamReactor::Start(std::make_shared<InferStreamReactor>(service_, context));
}

}  // namespace spade
