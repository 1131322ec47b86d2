#include "tests/loadtest/fake_server.h"

#include <grpcpp/server_builder.h>

#include <thread>

namespace spade::loadtest {

class FakeServer::Running final {
 public:
  explicit Running(FakeServer& server) : server_(server), now_(++server.running_) {
    ++server.num_requests_;
    int most = server.most_running_;
    while (most < now_ && !server.most_running_.compare_exchange_weak(most, now_)) {
    }
  }
  ~Running() { --server_.running_; }

  bool too_many() const { return now_ > server_.options_.max_running; }

 private:
  FakeServer& server_;
  const int now_;
};

FakeServer::FakeServer(Options options) : options_(options) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  target_ = "127.0.0.1:" + std::to_string(port);
}

FakeServer::~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

bool FakeServer::Knows(const grpc::ServerContext& context) const {
  if (options_.token.empty()) return true;
  const auto sent = context.client_metadata().find("authorization");
  return sent != context.client_metadata().end() && sent->second == "Bearer " + options_.token;
}

grpc::Status FakeServer::Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                                  grpc::ServerWriter<v1::GenerateResponse>* writer) {
  const Running running(*this);
  if (!Knows(*context)) return {grpc::UNAUTHENTICATED, "token"};
  if (running.too_many()) return {grpc::RESOURCE_EXHAUSTED, "full"};
  if (request->prompt_case() == v1::GenerateRequest::PROMPT_NOT_SET) {
    return {grpc::INVALID_ARGUMENT, "prompt"};
  }
  while (options_.hang && !context->IsCancelled()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const uint32_t num_tokens = request->stopping().max_tokens();
  for (uint32_t i = 1; i <= num_tokens && !context->IsCancelled(); ++i) {
    std::this_thread::sleep_for(options_.token_delay);
    v1::GenerateResponse response;
    response.add_token_ids(7);
    if (i == num_tokens && !options_.forget_finish) {
      v1::Usage& usage = *response.mutable_finish()->mutable_usage();
      usage.set_prompt_tokens(request->token_ids().ids_size());
      usage.set_output_tokens(num_tokens);
    }
    writer->Write(response);
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::Decide(grpc::ServerContext*, const v1::DecideRequest* request,
                                grpc::ServerWriter<v1::DecideResponse>* writer) {
  const Running running(*this);
  if (running.too_many()) return {grpc::RESOURCE_EXHAUSTED, "full"};
  if (request->labels().empty()) return {grpc::INVALID_ARGUMENT, "labels"};
  v1::DecideResponse response;
  response.set_kind(v1::DecideResponse::KIND_FINAL);
  response.set_label(request->labels(0));
  response.mutable_probabilities()->Resize(request->labels_size(), 0);
  response.set_probabilities(0, 1);
  writer->Write(response);
  return grpc::Status::OK;
}

}  // namespace spade::loadtest
