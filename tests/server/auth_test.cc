#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "engine/base/sha256.h"
#include "spade/v1/admin.grpc.pb.h"
#include "spade/v1/error_details.pb.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/temp_dir.h"

namespace spade {
namespace {

constexpr char kAlice[] = "alice-token";
constexpr char kBob[] = "bob-token";

std::string Line(const std::string& name, const std::string& token,
                 const std::string& limits = "") {
  return name + " " + Sha256Hex(token) + " " + limits + "\n";
}

class AuthTest : public ServerTest {
 protected:
  void ServeTokens(const std::string& tokens, FakeEngineOptions engine = {}) {
    ListenOptions options;
    options.admin = true;
    options.token_file = folder_.Write("tokens", tokens);
    options.reload_interval = std::chrono::milliseconds(5);
    Listen(options);
    Serve(engine);
  }
  void Replace(const std::string& tokens) { folder_.Write("tokens", tokens); }

  static std::unique_ptr<grpc::ClientContext> As(const std::string& token) {
    auto context = Context();
    context->AddMetadata("authorization", "Bearer " + token);
    return context;
  }
  grpc::Status GetModel(grpc::ClientContext& context) {
    v1::GetModelResponse response;
    return stub().GetModel(&context, {}, &response);
  }
  grpc::StatusCode GetModelAs(const std::string& token) {
    return GetModel(*As(token)).error_code();
  }
  grpc::Status GenerateAs(const std::string& token, uint32_t max_tokens = 2) {
    const auto context = As(token);
    const auto reader = stub().Generate(context.get(), Generation(max_tokens));
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
  // Any method, with an empty request.
  grpc::Status Call(const std::string& method, const std::string& token) {
    grpc::GenericStub generic(channel());
    grpc::CompletionQueue queue;
    const auto context = token.empty() ? Context() : As(token);
    const grpc::Slice nothing;
    const auto call =
        generic.PrepareUnaryCall(context.get(), method, grpc::ByteBuffer(&nothing, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok) && ok);
    return status;
  }

  const testing::TempDir folder_;
};

TEST_F(AuthTest, EveryServiceNeedsAToken) {
  ServeTokens(Line("alice", kAlice));
  for (const char* method :
       {"/spade.v1.InferenceService/Generate", "/spade.v1.InferenceService/DecideStream",
        "/spade.v1.InferenceService/GetModel", "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelStreamInfer",
        "/vllm.grpc.engine.VllmEngine/HealthCheck", "/vllm.grpc.engine.VllmEngine/Generate",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/no.such.Service/Method",
        "/grpc.health.v1.HealthX/Check"}) {
    EXPECT_EQ(Call(method, "").error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
    EXPECT_NE(Call(method, kAlice).error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
  }
}

TEST_F(AuthTest, StreamsOfManyMessagesNeedATokenToo) {
  ServeTokens(Line("alice", kAlice));
  EXPECT_EQ(Call("/vllm.grpc.engine.VllmEngine/GetTokenizer", "").error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(AuthTest, HealthNeedsNone) {
  ServeTokens(Line("alice", kAlice));
  EXPECT_TRUE(Call("/grpc.health.v1.Health/Check", "").ok());
}

TEST_F(AuthTest, RefusalsSayWhatToSendAndAreCounted) {
  ServeTokens(Line("alice", kAlice));
  const grpc::Status status = Call("/spade.v1.InferenceService/GetModel", "");
  EXPECT_NE(status.error_message().find("authorization: Bearer"), std::string::npos)
      << status.error_message();
  EXPECT_EQ(GetModelAs("wrong"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Metric("spade_auth_refusals_total", std::map<std::string, std::string>{}), 2);
}

TEST_F(AuthTest, TwoTokensInOneCallAreRefused) {
  ServeTokens(Line("alice", kAlice) + Line("bob", kBob));
  const auto context = As(kAlice);
  context->AddMetadata("authorization", std::string("Bearer ") + kBob);
  EXPECT_EQ(GetModel(*context).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(AuthTest, TokensComeAndGoWithoutARestart) {
  ServeTokens(Line("alice", kAlice));
  EXPECT_EQ(GetModelAs(kBob), grpc::StatusCode::UNAUTHENTICATED);
  Replace(Line("bob", kBob));
  EXPECT_TRUE(Eventually([&] { return GetModelAs(kBob) == grpc::StatusCode::OK; }));
  EXPECT_EQ(GetModelAs(kAlice), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Metric("spade_reloads_total", {{"what", "tokens"}, {"result", "taken"}}), 1);
}

TEST_F(AuthTest, ABadNewFileLeavesTheOldTokens) {
  ServeTokens(Line("alice", kAlice));
  Replace("nonsense\n");
  EXPECT_TRUE(Eventually([&] {
    return Metric("spade_reloads_total", {{"what", "tokens"}, {"result", "refused"}}) == 1;
  }));
  EXPECT_EQ(GetModelAs(kAlice), grpc::StatusCode::OK);
}

TEST_F(AuthTest, ARunningStreamOutlivesItsToken) {
  ServeTokens(Line("alice", kAlice), {.tick = std::chrono::milliseconds(2)});
  const auto context = As(kAlice);
  const auto reader = stub().Generate(context.get(), Generation(100));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  Replace(Line("bob", kBob));
  ASSERT_TRUE(Eventually([&] { return GetModelAs(kBob) == grpc::StatusCode::OK; }));
  while (reader->Read(&response)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(AuthTest, AnOpenRequestStreamTakesNoMoreFromATokenThatIsGone) {
  ServeTokens(Line("alice", kAlice));
  const auto context = As(kAlice);
  const auto stream = stub().DecideStream(context.get());
  v1::DecideResponse response;
  stream->Write(Question("before"));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_FALSE(response.has_error());
  Replace(Line("bob", kBob));
  ASSERT_TRUE(Eventually([&] { return GetModelAs(kBob) == grpc::StatusCode::OK; }));
  stream->Write(Question("after"));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error().code(), grpc::StatusCode::UNAUTHENTICATED);
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(AuthTest, RequestsInFlightAreLimitedByTenant) {
  ServeTokens(Line("alice", kAlice, "max-in-flight=1") + Line("bob", kBob));
  engine().Pause();
  const auto context = As(kAlice);
  const auto running = stub().Generate(context.get(), Generation(2));
  ASSERT_TRUE(Eventually([&] { return engine().num_accepted() == 1; }));
  const grpc::Status status = GenerateAs(kAlice);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  v1::StatusDetails details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
  EXPECT_EQ(GetModelAs(kAlice), grpc::StatusCode::OK) << "questions are at no limit";
  engine().Resume();
  EXPECT_TRUE(GenerateAs(kBob).ok());
  v1::GenerateResponse response;
  while (running->Read(&response)) {
  }
  EXPECT_TRUE(running->Finish().ok());
  EXPECT_TRUE(Eventually([&] { return GenerateAs(kAlice).ok(); }));
}

TEST_F(AuthTest, EachRequestOfAStreamIsLimited) {
  ServeTokens(Line("alice", kAlice, "max-in-flight=2"));
  engine().Pause();
  const auto context = As(kAlice);
  const auto stream = stub().DecideStream(context.get());
  for (const char* id : {"a", "b", "c"}) stream->Write(Question(id));
  v1::DecideResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.request_id(), "c");
  EXPECT_EQ(response.error().code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  engine().Resume();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_FALSE(response.has_error());
  }
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(AuthTest, RequestsASecondAreLimited) {
  ServeTokens(Line("alice", kAlice, "requests-per-second=0.01"));
  EXPECT_TRUE(GenerateAs(kAlice).ok());
  const grpc::Status status = GenerateAs(kAlice);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(
      Metric("spade_quota_refusals_total", {{"tenant", "alice"}, {"limit", "requests-per-second"}}),
      1);
}

TEST_F(AuthTest, NoCallLoadsAModelOrMapsMemory) {
  ServeTokens(Line("alice", kAlice));
  for (const char* method :
       {"RepositoryModelLoad", "RepositoryModelUnload", "SystemSharedMemoryRegister",
        "CudaSharedMemoryRegister", "TraceSetting", "LogSettings"}) {
    EXPECT_EQ(Call(std::string("/inference.GRPCInferenceService/") + method, kAlice).error_code(),
              grpc::StatusCode::UNIMPLEMENTED)
        << method;
  }
}

TEST_F(AuthTest, ABadTokenFileStopsTheStart) {
  ListenOptions options;
  options.address = "127.0.0.1:0";
  options.token_file = folder_.Write("tokens", "alice\n");
  prometheus::Registry registry;
  GrpcServer server(options, {}, &registry, std::make_shared<spdlog::logger>("test"));
  const absl::Status status = server.Start();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(status.message().find("line 1"), std::string::npos) << status;
}

TEST_F(AuthTest, TheRequestLogShowsOthersRequestsToAdministratorsOnly) {
  ServeTokens(Line("alice", kAlice) + Line("bob", kBob, "admin"));
  RequestRecord newest, oldest;
  newest.tenant = "bob";
  oldest.tenant = "alice";
  engine().SetRecentRequests({newest, oldest});
  const auto seen = [&](const std::string& token, uint32_t limit) {
    v1::ListRequestsRequest request;
    request.set_limit(limit);
    v1::ListRequestsResponse response;
    EXPECT_TRUE(
        v1::Admin::NewStub(channel())->ListRequests(As(token).get(), request, &response).ok());
    std::vector<std::string> tenants;
    for (const v1::RequestRecord& record : response.requests()) tenants.push_back(record.tenant());
    return tenants;
  };
  EXPECT_EQ(seen(kBob, 0), (std::vector<std::string>{"bob", "alice"}));
  EXPECT_EQ(seen(kAlice, 1), std::vector<std::string>{"alice"}) << "bob's newer one takes no place";
}

}  // namespace
}  // namespace spade
