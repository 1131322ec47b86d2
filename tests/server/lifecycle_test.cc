#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "tests/server/server_fixture.h"

namespace spade {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr char kServiceName[] = "spade.v1.InferenceService";

class LifecycleTest : public ServerTest {
 protected:
  HealthCheckResponse::ServingStatus Check(const std::string& service) {
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    const auto context = Context();
    const grpc::Status status = health().Check(context.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.status();
  }
  bool IsServing() {
    return Check("") == HealthCheckResponse::SERVING &&
           Check(kServiceName) == HealthCheckResponse::SERVING;
  }
  bool IsNotServing() {
    return Check("") == HealthCheckResponse::NOT_SERVING &&
           Check(kServiceName) == HealthCheckResponse::NOT_SERVING;
  }
  bool IsLive() { return Check("liveness") == HealthCheckResponse::SERVING; }
  grpc::Status GetModel() {
    const auto context = Context();
    v1::GetModelResponse response;
    return stub().GetModel(context.get(), {}, &response);
  }
};

TEST_F(LifecycleTest, UnavailableAndNotServingUntilTheModelIsLoaded) {
  Listen();
  EXPECT_TRUE(IsNotServing());
  EXPECT_TRUE(IsLive()) << "loading is no reason to restart";
  EXPECT_EQ(GetModel().error_code(), grpc::StatusCode::UNAVAILABLE);
  const auto context = Context();
  v1::GenerateResponse response;
  const auto reader = stub().Generate(context.get(), Generation(1));
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  Serve();
  EXPECT_TRUE(IsServing());
  EXPECT_TRUE(GetModel().ok());
}

TEST_F(LifecycleTest, WatchSeesEveryChange) {
  Listen();
  const auto context = Context();
  HealthCheckRequest request;
  request.set_service(kServiceName);
  const auto watch = health().Watch(context.get(), request);
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  Serve();
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  std::thread drain([&] { server().Drain(); });
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  drain.join();
  EXPECT_FALSE(watch->Read(&response));
}

TEST_F(LifecycleTest, StalledEngineIsNotServingUntilItMovesAgain) {
  Listen({.liveness_timeout = std::chrono::milliseconds(100)});
  Serve();
  engine().Pause();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_TRUE(IsServing()) << "an idle engine is not a stalled one";
  EXPECT_EQ(Metric("spade_engine_idle"), 1);
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(1));
  EXPECT_TRUE(Eventually([&] { return IsNotServing(); }));
  EXPECT_FALSE(IsLive());
  EXPECT_EQ(Metric("spade_serving"), 0);
  EXPECT_GT(Metric("spade_engine_heartbeat_age_seconds"), 0.1);
  EXPECT_EQ(Metric("spade_engine_idle"), 0);
  engine().Resume();
  EXPECT_TRUE(Eventually([&] { return IsServing(); }));
  EXPECT_TRUE(IsLive());
  EXPECT_EQ(Metric("spade_serving"), 1);
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(LifecycleTest, DrainingFinishesRunningStreamsAndRefusesNewOnes) {
  Serve({.tick = std::chrono::milliseconds(2)});
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(150));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  std::thread drain([&] { EXPECT_EQ(server().Drain(), 0); });
  ASSERT_TRUE(Eventually([&] { return IsNotServing(); }));
  EXPECT_TRUE(IsLive()) << "draining is no reason to kill";
  const auto second = Context();
  const auto refused = stub().Generate(second.get(), Generation(1));
  v1::GenerateResponse unused;
  EXPECT_FALSE(refused->Read(&unused));
  EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  int tokens = response.token_ids_size();
  while (reader->Read(&response)) tokens += response.token_ids_size();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, 150);
  drain.join();
}

TEST_F(LifecycleTest, DrainTimeoutCutsOffWhatIsLeft) {
  Listen({.drain_timeout = std::chrono::milliseconds(50)});
  Serve();
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(10'000'000));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  std::thread drain([&] { EXPECT_EQ(server().Drain(), 1); });
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  drain.join();
}

TEST_F(LifecycleTest, DrainingDoesNotWaitForAClientThatDoesNotRead) {
  Listen({.drain_timeout = std::chrono::milliseconds(50)});
  Serve({.tokens_per_tick = 500});
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(100'000'000));
  ASSERT_TRUE(Eventually([&] { return engine().num_accepted() == 1; }));
  const auto start = Clock::now();
  EXPECT_EQ(server().Drain(), 1);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
  }
  EXPECT_FALSE(reader->Finish().ok()) << "a status all the same";
}

TEST_F(LifecycleTest, IdleDecideStreamEndsAtOnceWhenDraining) {
  Serve();
  const auto context = Context();
  const auto stream = stub().DecideStream(context.get());
  v1::DecideResponse response;
  stream->Write(Question("q"));
  ASSERT_TRUE(stream->Read(&response));
  const auto start = Clock::now();
  std::thread drain([&] { server().Drain(); });
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  drain.join();
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(1));
}

TEST_F(LifecycleTest, FrequentKeepalivePingsAreTolerated) {
  Serve();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 100);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto pinging =
      grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments);
  ASSERT_TRUE(
      pinging->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(5)));
  // A GOAWAY would move the channel out of READY.
  EXPECT_FALSE(pinging->WaitForStateChange(
      GRPC_CHANNEL_READY, std::chrono::system_clock::now() + std::chrono::seconds(5)));
}

TEST_F(LifecycleTest, TakenPortIsAnError) {
  Serve();
  ListenOptions options;
  options.address = address();
  prometheus::Registry registry;
  GrpcServer second(options, {}, &registry, std::make_shared<spdlog::logger>("test"));
  EXPECT_EQ(second.Start().code(), absl::StatusCode::kUnavailable);
}

TEST_F(LifecycleTest, MissingTlsFileIsAnError) {
  ListenOptions options;
  options.tls = {"/nonexistent/cert", "/nonexistent/key", ""};
  prometheus::Registry registry;
  GrpcServer server(options, {}, &registry, std::make_shared<spdlog::logger>("test"));
  EXPECT_EQ(server.Start().code(), absl::StatusCode::kNotFound);
}

TEST_F(LifecycleTest, ServerInfoReportsTheState) {
  Serve();
  const auto context = Context();
  v1::GetServerInfoResponse response;
  ASSERT_TRUE(stub().GetServerInfo(context.get(), {}, &response).ok());
  EXPECT_EQ(response.version(), "1.2.3");
  EXPECT_EQ(response.device(), "fake");
  EXPECT_EQ(response.max_rows(), 512u);
  EXPECT_FALSE(response.draining());
}

}  // namespace
}  // namespace spade
