#include "loadtest/server_probe.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "spade/v1/inference.grpc.pb.h"

namespace spade::loadtest {
namespace {

constexpr auto kCallTimeout = std::chrono::seconds(10);
constexpr auto kIdlePoll = std::chrono::milliseconds(100);

void SetUp(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  context.set_wait_for_ready(true);
}

absl::Status FromGrpc(const char* method, const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      absl::StrCat(method, ": ", status.error_message()));
}

}  // namespace

ServerProbe::ServerProbe(const ClientOptions& options)
    : options_(options),
      channel_(grpc::CreateChannel(options.target, options.credentials
                                                       ? options.credentials
                                                       : grpc::InsecureChannelCredentials())) {}

absl::StatusOr<ModelFacts> ServerProbe::Model() {
  grpc::ClientContext context;
  SetUp(context);
  options_.AddToken(context);
  v1::GetModelResponse response;
  const grpc::Status status =
      v1::InferenceService::NewStub(channel_)->GetModel(&context, {}, &response);
  if (!status.ok()) return FromGrpc("GetModel", status);
  ModelFacts facts;
  facts.name = response.name();
  facts.vocab_size = response.vocab_size();
  facts.max_context = response.max_context();
  facts.has_bos = response.has_bos_token_id();
  facts.bos_token_id = response.bos_token_id();
  facts.eos_token_ids.assign(response.eos_token_ids().begin(), response.eos_token_ids().end());
  return facts;
}

absl::StatusOr<ServerFacts> ServerProbe::Server() {
  grpc::ClientContext context;
  SetUp(context);
  options_.AddToken(context);
  v1::GetServerInfoResponse response;
  const grpc::Status status =
      v1::InferenceService::NewStub(channel_)->GetServerInfo(&context, {}, &response);
  if (!status.ok()) return FromGrpc("GetServerInfo", status);
  return ServerFacts{response.version(), response.device(), response.running(), response.waiting(),
                     response.kv_blocks_in_use()};
}

absl::StatusOr<ServerFacts> ServerProbe::WaitIdle(std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    absl::StatusOr<ServerFacts> facts = Server();
    if (!facts.ok() || facts->idle() || std::chrono::steady_clock::now() > deadline) return facts;
    std::this_thread::sleep_for(kIdlePoll);
  }
}

}  // namespace spade::loadtest
