#include "server/inference_service.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "server/decide_reactor.h"
#include "server/decide_stream_reactor.h"
#include "server/generate_reactor.h"
#include "server/response_convert.h"

namespace spade {

InferenceService::InferenceService(ServiceContext service, ServerIdentity identity)
    : service_(std::move(service)), identity_(std::move(identity)) {}

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return GenerateReactor::Start(std::make_shared<GenerateReactor>(service_, context, *request),
                                *request);
}

grpc::ServerWriteReactor<v1::DecideResponse>* InferenceService::Decide(
    grpc::CallbackServerContext* context, const v1::DecideRequest* request) {
  return DecideReactor::Start(std::make_shared<DecideReactor>(service_, context), *request);
}

grpc::ServerBidiReactor<v1::DecideRequest, v1::DecideResponse>* InferenceService::DecideStream(
    grpc::CallbackServerContext* context) {
  return DecideStreamReactor::Start(std::make_shared<DecideStreamReactor>(service_, context));
}

template <typename Answer>
grpc::ServerUnaryReactor* InferenceService::Unary(grpc::CallbackServerContext* context,
                                                  RpcMethod method, Answer answer) {
  return AnswerInPlace(service_, context, method, [&]() -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service_.state->Loaded());
    return answer(*model);
  });
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  return Unary(context, RpcMethod::kTokenize, [&](const ServedModel& model) -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, model.converter.Convert(*request));
    response->mutable_token_ids()->Add(ids.begin(), ids.end());
    if (!request->with_pieces()) return absl::OkStatus();
    for (const TokenId id : ids) {
      response->add_pieces(model.engine->tokenizer().Piece(id).value_or(""));
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  return Unary(context, RpcMethod::kDetokenize, [&](const ServedModel& model) -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, model.converter.Convert(*request));
    const bool skip_special = !request->has_skip_special_tokens() || request->skip_special_tokens();
    response->set_text(model.engine->tokenizer().Decode(ids, skip_special));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest*,
                                                     v1::GetModelResponse* response) {
  return Unary(context, RpcMethod::kGetModel, [&](const ServedModel& model) {
    *response = ConvertModel(model.engine->info(), model.name);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::GetServerInfo(grpc::CallbackServerContext* context,
                                                          const v1::GetServerInfoRequest*,
                                                          v1::GetServerInfoResponse* response) {
  return Unary(context, RpcMethod::kGetServerInfo, [&](const ServedModel& model) {
    ConvertStats(model.engine->Stats(), model.engine->info(), *response);
    response->set_version(identity_.version);
    response->set_uptime_seconds(std::chrono::duration<double>(Clock::now() - start_).count());
    response->set_draining(service_.state->draining());
    response->set_kv_block_size(identity_.kv_block_size);
    response->set_max_sequences(identity_.max_sequences);
    response->set_max_rows(identity_.max_rows);
    return absl::OkStatus();
  });
}

}  // namespace spade
