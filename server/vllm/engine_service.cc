#include "server/vllm/engine_service.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "server/field_check.h"
#include "server/vllm/generate_reactor.h"
#include "server/vllm/tokenizer_reactor.h"

namespace spade {
namespace {

namespace api = ::vllm::grpc::engine;

double UnixTime() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// config.json's model_type.
const char* ModelType(Architecture architecture) {
  switch (architecture) {
    case Architecture::kLlama:
      return "llama";
    case Architecture::kMistral:
      return "mistral";
    case Architecture::kQwen2:
      return "qwen2";
    case Architecture::kQwen3:
      return "qwen3";
  }
  return "";
}

}  // namespace

VllmEngineService::VllmEngineService(ServiceContext service, ServerIdentity identity)
    : service_(std::move(service)),
      identity_(std::move(identity)),
      tokenizer_([folder = identity_.model_directory] { return PackTokenizer(folder); }) {}

grpc::ServerWriteReactor<api::GenerateResponse>* VllmEngineService::Generate(
    grpc::CallbackServerContext* context, const api::GenerateRequest* request) {
  last_request_ = UnixTime();
  return VllmGenerateReactor::Start(
      std::make_shared<VllmGenerateReactor>(service_, context, request->stream(), &registry_),
      *request);
}

grpc::ServerUnaryReactor* VllmEngineService::Embed(grpc::CallbackServerContext* context,
                                                   const api::EmbedRequest*, api::EmbedResponse*) {
  return AnswerInPlace(service_, context, RpcMethod::kVllmEmbed, [] {
    return absl::UnimplementedError("this server generates and decides; it has no embeddings");
  });
}

grpc::ServerUnaryReactor* VllmEngineService::HealthCheck(grpc::CallbackServerContext* context,
                                                         const api::HealthCheckRequest*,
                                                         api::HealthCheckResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kVllmHealthCheck, [&] {
    const auto health = service_.state->Health();
    response->set_healthy(health.ok());
    response->set_message(health.ok() ? "serving" : std::string(health.message()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* VllmEngineService::Abort(grpc::CallbackServerContext* context,
                                                   const api::AbortRequest* request,
                                                   api::AbortResponse*) {
  return AnswerInPlace(
      service_, context, RpcMethod::kVllmAbort, [&](const Caller& caller) -> absl::Status {
        constexpr uint64_t kMostIds = 4096;
        SPADE_RETURN_IF_ERROR(CheckCount(
            "request_ids", static_cast<uint64_t>(request->request_ids_size()), kMostIds));
        std::vector<std::string> ids;
        for (const std::string& id : request->request_ids()) ids.push_back(caller.Scoped(id));
        registry_.Abort(ids);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* VllmEngineService::GetModelInfo(grpc::CallbackServerContext* context,
                                                          const api::GetModelInfoRequest*,
                                                          api::GetModelInfoResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kVllmGetModelInfo, [&]() -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service_.state->Loaded());
    const ModelInfo& info = model->engine->info();
    response->set_model_path(identity_.model_directory);
    response->set_tokenizer_path(identity_.model_directory);
    response->set_served_model_name(model->name);
    response->set_is_generation(true);
    response->set_max_context_length(static_cast<uint32_t>(info.max_context));
    response->set_max_req_input_len(info.max_context);
    response->set_vocab_size(static_cast<uint32_t>(info.config.vocab_size));
    response->set_model_type(ModelType(info.config.architecture));
    response->add_architectures(info.config.architecture_name);
    for (const TokenId id : info.config.eos_ids) response->add_eos_token_ids(id);
    response->set_bos_token_id(info.config.bos_id.value_or(0));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* VllmEngineService::GetServerInfo(grpc::CallbackServerContext* context,
                                                           const api::GetServerInfoRequest*,
                                                           api::GetServerInfoResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kVllmGetServerInfo, [&]() -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service_.state->Loaded());
    const EngineStats stats = model->engine->Stats();
    response->set_active_requests(static_cast<uint32_t>(stats.running + stats.waiting));
    response->set_is_paused(service_.state->draining());
    response->set_last_receive_timestamp(last_request_);
    response->set_uptime_seconds(std::chrono::duration<double>(Clock::now() - start_).count());
    response->set_server_type("vllm-grpc");
    response->set_data_parallel_size(1);
    response->set_block_size(identity_.kv_block_size);
    response->set_model_dtype(model->engine->info().weight_dtype);
    response->set_max_num_seqs(identity_.max_sequences);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* VllmEngineService::GetLoads(grpc::CallbackServerContext* context,
                                                      const api::GetLoadsRequest*,
                                                      api::GetLoadsResponse* response) {
  return AnswerInPlace(service_, context, RpcMethod::kVllmGetLoads, [&]() -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service_.state->Loaded());
    const EngineStats stats = model->engine->Stats();
    response->set_timestamp(absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone()));
    response->set_version(identity_.version);
    response->set_dp_rank_count(1);
    api::SchedulerLoad* load = response->add_loads();
    load->set_num_running_reqs(stats.running);
    load->set_num_waiting_reqs(stats.waiting);
    load->set_num_total_reqs(stats.running + stats.waiting);
    load->set_num_used_tokens(stats.kv_blocks_in_use * identity_.kv_block_size);
    load->set_max_total_num_tokens(stats.kv_blocks * identity_.kv_block_size);
    load->set_token_usage(static_cast<double>(stats.kv_blocks_in_use) /
                          std::max(stats.kv_blocks, 1));
    load->set_utilization(static_cast<double>(stats.running) /
                          std::max(identity_.max_sequences, 1));
    load->set_max_running_requests(identity_.max_sequences);
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<::smg::grpc::common::GetTokenizerChunk>* VllmEngineService::GetTokenizer(
    grpc::CallbackServerContext* context, const ::smg::grpc::common::GetTokenizerRequest*) {
  return new TokenizerReactor(service_, *context, &tokenizer_);
}

}  // namespace spade
