#include "tests/server/server_fixture.h"

#include <grpcpp/create_channel.h>
#include <spdlog/sinks/null_sink.h>

#include <thread>
#include <utility>

namespace spade {
namespace {

const std::string kModel = std::string(SPADE_SOURCE_DIR) + "/models/tickets-5m";
constexpr char kService[] = "spade.v1.InferenceService";

}  // namespace

bool Eventually(const std::function<bool()>& condition, std::chrono::milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  while (!condition()) {
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

ServerTest::ServerTest() : registry_(std::make_shared<prometheus::Registry>()) {}

void ServerTest::Listen(ListenOptions options) {
  options.address = "127.0.0.1:0";
  auto logger =
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
  server_ = std::make_unique<GrpcServer>(options, ServerIdentity{"1.2.3", 16, 64, 512, kModel},
                                         registry_.get(), logger);
  ASSERT_TRUE(server_->Start().ok());
  channel_ = grpc::CreateChannel(address(), grpc::InsecureChannelCredentials());
  stub_ = v1::InferenceService::NewStub(channel_);
  health_ = grpc::health::v1::Health::NewStub(channel_);
}

void ServerTest::Serve(FakeEngineOptions options) {
  if (server_ == nullptr) Listen();
  auto engine = std::make_unique<FakeEngine>(options);
  engine_ = engine.get();
  server_->Serve(std::move(engine), "fake");
}

std::string ServerTest::address() const { return "127.0.0.1:" + std::to_string(server_->port()); }

double ServerTest::Metric(const std::string& name, const std::string& method,
                          const std::string& code) {
  for (const auto& family : registry_->Collect()) {
    if (family.name != name) continue;
    for (const auto& metric : family.metric) {
      bool matches = true;
      for (const auto& label : metric.label) {
        if (label.name == "grpc_service") matches = matches && label.value == kService;
        if (label.name == "grpc_method") matches = matches && label.value == method;
        if (label.name == "grpc_code") matches = matches && label.value == code;
      }
      if (matches) return metric.counter.value + metric.gauge.value;
    }
  }
  return 0;
}

double ServerTest::Metric(const std::string& name,
                          const std::map<std::string, std::string>& labels) {
  for (const auto& family : registry_->Collect()) {
    if (family.name != name) continue;
    for (const auto& metric : family.metric) {
      std::map<std::string, std::string> own;
      for (const auto& label : metric.label) own[label.name] = label.value;
      if (own == labels) return metric.counter.value + metric.gauge.value;
    }
  }
  return 0;
}

double ServerTest::Failures(const std::string& code, Reason reason) {
  for (const auto& family : registry_->Collect()) {
    if (family.name != "spade_failures_total") continue;
    for (const auto& metric : family.metric) {
      const bool matches = std::ranges::all_of(metric.label, [&](const auto& label) {
        return label.value == (label.name == "reason" ? NameOf(reason) : code);
      });
      if (matches) return metric.counter.value;
    }
  }
  return 0;
}

std::unique_ptr<grpc::ClientContext> ServerTest::Context() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  return context;
}

v1::GenerateRequest ServerTest::Generation(uint32_t max_tokens) {
  v1::GenerateRequest request;
  request.set_text("hello there");
  request.mutable_stopping()->set_max_tokens(max_tokens);
  return request;
}

v1::DecideRequest ServerTest::Question(const std::string& id, size_t prompt_tokens) {
  v1::DecideRequest request;
  request.set_request_id(id);
  for (size_t i = 0; i < prompt_tokens; ++i) request.mutable_token_ids()->add_ids(100);
  request.add_labels(" car");
  request.add_labels(" bank");
  return request;
}

}  // namespace spade
