#pragma once

#include <grpcpp/server.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "spade/v1/inference.grpc.pb.h"

namespace spade::loadtest {

// Answers at once and by rote, on a free port of localhost: Generate with 7 for every token asked
// for, one per message; Decide with the first label. Refuses what has no prompt, with
// INVALID_ARGUMENT, and more than `max_running` streams, with RESOURCE_EXHAUSTED.
class FakeServer final : public v1::InferenceService::Service {
 public:
  struct Options {
    std::chrono::milliseconds token_delay{0};
    int max_running = 1 << 30;
    std::string token = {};      // not empty: refuses streams without it
    bool forget_finish = false;  // a bug: streams end without `finish`
    bool hang = false;           // a bug: streams end only when cancelled
  };

  explicit FakeServer(Options options);
  ~FakeServer() override;

  const std::string& target() const { return target_; }
  int num_requests() const { return num_requests_; }
  int most_running() const { return most_running_; }

  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override;
  grpc::Status Decide(grpc::ServerContext* context, const v1::DecideRequest* request,
                      grpc::ServerWriter<v1::DecideResponse>* writer) override;

 private:
  class Running;

  bool Knows(const grpc::ServerContext& context) const;

  const Options options_;
  std::atomic<int> num_requests_{0};
  std::atomic<int> running_{0};
  std::atomic<int> most_running_{0};
  std::string target_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace spade::loadtest
