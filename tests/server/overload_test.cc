// What a client sees of a server that has too much to do, or of its own slowness.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/base/reason.h"
#include "inference/open_inference.grpc.pb.h"
#include "spade/v1/error_details.pb.h"
#include "tests/server/infer_request.h"
#include "tests/server/server_fixture.h"

namespace spade {
namespace {

class OverloadTest : public ServerTest {
 protected:
  grpc::Status Generate(grpc::ClientContext* context) {
    const auto reader = stub().Generate(context, Generation(1));
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
  grpc::Status Generate(const std::string& tenant) {
    const auto context = Context();
    context->AddMetadata("x-spade-tenant", tenant);
    return Generate(context.get());
  }
};

absl::Status QueueFull(std::chrono::milliseconds delay) {
  return WithRetryAfter(
      WithReason(absl::ResourceExhaustedError("9 requests wait"), Reason::kQueueRequests), delay);
}

TEST_F(OverloadTest, TheRetryHintIsTheEnginesSpreadByHalf) {
  Serve();
  engine().Refuse(QueueFull(std::chrono::seconds(8)));
  double least = 1e9;
  double most = 0;
  for (int i = 0; i < 30; ++i) {
    const auto context = Context();
    const grpc::Status status = Generate(context.get());
    ASSERT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    v1::StatusDetails details;
    ASSERT_TRUE(details.ParseFromString(status.error_details()));
    ASSERT_EQ(details.details_size(), 2);
    EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
    v1::RetryInfo retry;
    ASSERT_TRUE(retry.ParseFromString(details.details(0).value()));
    const double seconds =
        static_cast<double>(retry.retry_delay().seconds()) + retry.retry_delay().nanos() / 1e9;
    least = std::min(least, seconds);
    most = std::max(most, seconds);
  }
  EXPECT_GE(least, 4);
  EXPECT_LE(most, 12);
  EXPECT_LT(least, most - 1) << "not all at once";
}

// A text that is too long would be refused for that, were it looked at.
TEST_F(OverloadTest, AFullQueueRefusesBeforeThePromptIsLookedAt) {
  Serve();
  const std::string endless(1 << 20, 'a');
  v1::GenerateRequest request = Generation(1);
  request.set_text(endless);
  v1::DecideRequest question = Question("q");
  question.set_text(endless);
  InferRequestBuilder infer("fake");
  infer.Text("text_input", {endless});
  const auto codes = [&]() -> std::vector<grpc::StatusCode> {
    const auto first = Context(), second = Context(), third = Context();
    first->AddMetadata("x-spade-tenant", "late");
    ::inference::ModelInferResponse response;
    return {stub().Generate(first.get(), request)->Finish().error_code(),
            stub().Decide(second.get(), question)->Finish().error_code(),
            ::inference::GRPCInferenceService::NewStub(channel())
                ->ModelInfer(third.get(), infer.request(), &response)
                .error_code()};
  };
  EXPECT_THAT(codes(), ::testing::Each(grpc::StatusCode::INVALID_ARGUMENT));
  engine().RefuseAtOnce(QueueFull(std::chrono::seconds(1)));
  EXPECT_THAT(codes(), ::testing::Each(grpc::StatusCode::RESOURCE_EXHAUSTED));
}

TEST_F(OverloadTest, TheDetailsSayWhy) {
  Serve();
  engine().Refuse(QueueFull(std::chrono::seconds(1)));
  const auto context = Context();
  v1::StatusDetails details;
  ASSERT_TRUE(details.ParseFromString(Generate(context.get()).error_details()));
  EXPECT_EQ(details.details(1).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  v1::ErrorInfo info;
  ASSERT_TRUE(info.ParseFromString(details.details(1).value()));
  EXPECT_EQ(info.reason(), "QUEUE_REQUESTS");
  EXPECT_EQ(info.domain(), "spade");
}

TEST_F(OverloadTest, ARequestOfAStreamIsToldWhenToTryAgain) {
  Serve();
  engine().Refuse(QueueFull(std::chrono::seconds(8)));
  const auto context = Context();
  const auto stream = stub().DecideStream(context.get());
  stream->Write(Question("q"));
  v1::DecideResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error().code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_GE(response.error().retry_after_seconds(), 4);
  EXPECT_LE(response.error().retry_after_seconds(), 12);
  EXPECT_EQ(Failures("ResourceExhausted", Reason::kQueueRequests), 1);
}

TEST_F(OverloadTest, FailuresAreCountedByCodeAndReason) {
  Serve();
  engine().Refuse(QueueFull(std::chrono::seconds(1)));
  const auto refused = Context();
  Generate(refused.get());
  EXPECT_TRUE(
      Eventually([&] { return Failures("ResourceExhausted", Reason::kQueueRequests) == 1; }));
  const auto wrong = Context();
  v1::GenerateRequest request = Generation(1);
  request.mutable_sampling()->set_top_p(7);
  const auto reader = stub().Generate(wrong.get(), request);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(Eventually([&] { return Failures("InvalidArgument", Reason::kInvalid) == 1; }));
}

TEST_F(OverloadTest, WhileLoadingTheReasonIsThat) {
  Listen();
  const auto context = Context();
  EXPECT_EQ(Generate(context.get()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Eventually([&] { return Failures("Unavailable", Reason::kLoading) == 1; }));
}

TEST_F(OverloadTest, TheTenantIsOfTheMetadata) {
  Serve();
  EXPECT_TRUE(Generate("team-a.1").ok());
  EXPECT_EQ(engine().last_tenant(), "team-a.1");
  const auto context = Context();
  EXPECT_TRUE(Generate(context.get()).ok());
  EXPECT_EQ(engine().last_tenant(), "");
}

TEST_F(OverloadTest, AWrongTenantIsRefused) {
  Serve();
  for (const std::string& name : {std::string("a b"), std::string("a/b"), std::string(65, 'a')}) {
    const grpc::Status status = Generate(name);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << name;
    EXPECT_EQ(status.error_message().rfind("x-spade-tenant: ", 0), 0u) << status.error_message();
  }
  EXPECT_EQ(engine().num_accepted(), 0);
}

TEST_F(OverloadTest, AClientThatDoesNotReadIsCutOff) {
  ListenOptions options;
  options.max_unread_bytes = 64 << 10;
  options.max_stall = std::chrono::milliseconds(50);
  Listen(options);
  Serve({.tokens_per_tick = 500});
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(100'000'000));
  EXPECT_TRUE(Eventually([&] { return Failures("Canceled", Reason::kStalledClient) == 1; }));
  EXPECT_GE(engine().num_cancelled(), 1) << "the engine is free of it";
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const auto second = Context();
  EXPECT_TRUE(Generate(second.get()).ok()) << "others go on";
}

TEST_F(OverloadTest, AClientThatNeverReadsWhatIsFinishedIsCutOff) {
  ListenOptions options;
  options.max_unread_bytes = 1 << 30;
  options.max_stall = std::chrono::milliseconds(20);
  Listen(options);
  Serve({.tokens_per_tick = 20'000});
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(4'000'000));
  EXPECT_TRUE(Eventually([&] { return Failures("Canceled", Reason::kStalledClient) == 1; }));
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(OverloadTest, AStreamOfManyRequestsThatIsNotReadIsCutOff) {
  ListenOptions options;
  options.max_stall = std::chrono::milliseconds(20);
  Listen(options);
  Serve({.tokens_per_tick = 20'000});
  const auto context = Context();
  const auto inference = ::inference::GRPCInferenceService::NewStub(channel());
  const auto stream = inference->ModelStreamInfer(context.get());
  InferRequestBuilder builder("fake", "story");
  builder.Text("text_input", {"once"})
      .Bool("stream", true)
      .Number("max_tokens", "INT32", 4'000'000);
  stream->Write(builder.request());
  EXPECT_TRUE(Eventually([&] { return Failures("Canceled", Reason::kStalledClient) == 1; }));
  ::inference::ModelStreamInferResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(OverloadTest, ASlowClientThatReadsIsNot) {
  ListenOptions options;
  options.max_unread_bytes = 64 << 10;
  options.max_stall = std::chrono::seconds(10);
  Listen(options);
  Serve({.tokens_per_tick = 500});
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(50'000));
  int tokens = 0;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    tokens += response.token_ids_size();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, 50'000);
}

}  // namespace
}  // namespace spade
