#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/grpc_server.h"
#include "spade/v1/inference.grpc.pb.h"
#include "tests/server/fake_engine.h"

namespace spade {

// Polls until `condition` holds; false after `timeout`.
bool Eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds timeout = std::chrono::seconds(10));

// A server on a free port of localhost over a FakeEngine, and real stubs.
class ServerTest : public ::testing::Test {
 protected:
  ServerTest();

  // Listens; without a model yet.
  void Listen(ListenOptions options = {});
  // Listens, if nothing does yet, and serves.
  void Serve(FakeEngineOptions options = {});

  GrpcServer& server() { return *server_; }
  FakeEngine& engine() { return *engine_; }
  std::string address() const;
  v1::InferenceService::Stub& stub() { return *stub_; }
  grpc::health::v1::Health::Stub& health() { return *health_; }
  std::shared_ptr<grpc::Channel> channel() { return channel_; }
  // Value of one series of the registry; 0 if there is none. `method` and `code` are those of RPCs.
  double Metric(const std::string& name, const std::string& method = "",
                const std::string& code = "");
  // The same of the series with exactly these labels.
  double Metric(const std::string& name, const std::map<std::string, std::string>& labels);
  // spade_failures_total of a code, spelt as RpcMetrics spells it, and a reason.
  double Failures(const std::string& code, Reason reason);
  // A context that ends a hung test.
  static std::unique_ptr<grpc::ClientContext> Context();

  static v1::GenerateRequest Generation(uint32_t max_tokens);
  static v1::DecideRequest Question(const std::string& id, size_t prompt_tokens = 4);

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<GrpcServer> server_;
  FakeEngine* engine_ = nullptr;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::InferenceService::Stub> stub_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_;
};

}  // namespace spade
