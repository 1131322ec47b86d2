#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>

#include "inference/open_inference.grpc.pb.h"
#include "server/infer/infer_stream_reactor.h"
#include "tests/server/infer_request.h"
#include "tests/server/server_fixture.h"

namespace spade {
namespace {

class OpenInferenceTest : public ServerTest {
 protected:
  std::unique_ptr<::inference::GRPCInferenceService::Stub> Stub() {
    return ::inference::GRPCInferenceService::NewStub(channel());
  }
  grpc::Status Infer(InferRequestBuilder& builder, ::inference::ModelInferResponse* response) {
    const auto context = Context();
    return Stub()->ModelInfer(context.get(), builder.request(), response);
  }
};

InferRequestBuilder Story(const std::string& id, int32_t max_tokens, bool stream) {
  InferRequestBuilder builder("fake", id);
  builder.Text("text_input", {"hello there"}).Number("max_tokens", "INT32", max_tokens);
  builder.Bool("stream", stream);
  return builder;
}

InferRequestBuilder Choice(const std::string& id) {
  InferRequestBuilder builder("fake-decide", id);
  builder.Text("text", {"the area is"}).Text("labels", {" car", " bank"});
  return builder;
}

bool IsFinal(const ::inference::ModelStreamInferResponse& response) {
  return response.infer_response().parameters().at(kFinalResponse).bool_param();
}

TEST_F(OpenInferenceTest, ReadinessFollowsTheModel) {
  Listen();
  const auto stub = Stub();
  ::inference::ServerReadyResponse ready;
  ASSERT_TRUE(stub->ServerReady(Context().get(), {}, &ready).ok());
  EXPECT_FALSE(ready.ready());
  ::inference::ServerLiveResponse live;
  ASSERT_TRUE(stub->ServerLive(Context().get(), {}, &live).ok());
  EXPECT_TRUE(live.live());
  Serve();
  ASSERT_TRUE(stub->ServerReady(Context().get(), {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  ::inference::ModelReadyRequest request;
  request.set_name("other");
  ::inference::ModelReadyResponse model;
  EXPECT_EQ(stub->ModelReady(Context().get(), request, &model).error_code(),
            grpc::StatusCode::NOT_FOUND);
  ::inference::RepositoryIndexResponse index;
  ASSERT_TRUE(stub->RepositoryIndex(Context().get(), {}, &index).ok());
  EXPECT_EQ(index.models_size(), 2);
}

TEST_F(OpenInferenceTest, GenerationRepeatsItsInputUnlessAskedNotTo) {
  Serve();
  ::inference::ModelInferResponse response;
  InferRequestBuilder builder = Story("id 1", 3, false);
  ASSERT_TRUE(Infer(builder, &response).ok());
  EXPECT_EQ(TextOutput(response, "text_output"), "hello therew100 w101 w102 ");
  EXPECT_EQ(response.id(), "id 1");
  EXPECT_EQ(response.model_name(), "fake");
  EXPECT_EQ(response.outputs_size(), 1);
  builder.Bool("exclude_input_in_output", true);
  ASSERT_TRUE(Infer(builder, &response).ok());
  EXPECT_EQ(TextOutput(response, "text_output"), "w100 w101 w102 ");
}

TEST_F(OpenInferenceTest, RequestedOutputsAndNoOthersComeBack) {
  Serve();
  ::inference::ModelInferResponse response;
  InferRequestBuilder builder = Story("", 3, false);
  builder.Output("finish_reason").Output("num_output_tokens").Output("logprobs");
  ASSERT_TRUE(Infer(builder, &response).ok());
  EXPECT_EQ(response.outputs_size(), 3);
  EXPECT_EQ(TextOutput(response, "finish_reason"), "length");
  EXPECT_EQ(Uint32Output(response, "num_output_tokens"), 3u);
  EXPECT_NE(TextOutput(response, "logprobs").find("\"101\":{"), std::string::npos);
}

TEST_F(OpenInferenceTest, DecisionAnswers) {
  Serve();
  ::inference::ModelInferResponse response;
  InferRequestBuilder builder = Choice("q");
  ASSERT_TRUE(Infer(builder, &response).ok());
  EXPECT_TRUE(TextOutput(response, "label") == " car" || TextOutput(response, "label") == " bank");
  EXPECT_EQ(RawOutput(response, "probabilities").size(), 2 * sizeof(float));
  EXPECT_EQ(Uint32Output(response, "exit_layer"), 12u);
}

TEST_F(OpenInferenceTest, VerifiedPreviewsOnAStreamOnly) {
  Serve();
  InferRequestBuilder builder = Choice("q");
  builder.Text("mode", {"verified"}).Number("max_mismatch", "FP64", 0.01);
  ::inference::ModelInferResponse one;
  ASSERT_TRUE(Infer(builder, &one).ok());
  EXPECT_EQ(TextOutput(one, "kind"), "final");
  const auto context = Context();
  const auto stub = Stub();
  const auto stream = stub->ModelStreamInfer(context.get());
  stream->Write(builder.request());
  stream->WritesDone();
  ::inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(TextOutput(response.infer_response(), "kind"), "early");
  EXPECT_FALSE(IsFinal(response));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(TextOutput(response.infer_response(), "kind"), "final");
  EXPECT_TRUE(IsFinal(response));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(OpenInferenceTest, ErrorsHaveTheirCodes) {
  Serve({.max_requests = 0});
  ::inference::ModelInferResponse response;
  InferRequestBuilder good = Story("", 3, false);
  EXPECT_EQ(Infer(good, &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  InferRequestBuilder bad = Story("", -1, false);
  EXPECT_EQ(Infer(bad, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  InferRequestBuilder unknown("other");
  EXPECT_EQ(Infer(unknown, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  InferRequestBuilder fast = Choice("");
  fast.Text("mode", {"fast"}).Number("max_mismatch", "FP64", 0.01);
  EXPECT_EQ(Infer(fast, &response).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(OpenInferenceTest, CancelledAndLateInferencesFreeTheEngine) {
  Serve();
  engine().Pause();
  InferRequestBuilder builder = Story("", 3, false);
  grpc::ClientContext late;
  late.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  ::inference::ModelInferResponse response;
  const auto stub = Stub();
  EXPECT_EQ(stub->ModelInfer(&late, builder.request(), &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
  const auto context = Context();
  std::thread client([&] { stub->ModelInfer(context.get(), builder.request(), &response); });
  EXPECT_TRUE(Eventually([&] { return !engine().Stats().idle; }));
  context->TryCancel();
  client.join();
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
}

TEST_F(OpenInferenceTest, ManyRequestsOfAStreamInterleave) {
  Serve({.tick = std::chrono::milliseconds(1)});
  const auto context = Context();
  const auto stub = Stub();
  const auto stream = stub->ModelStreamInfer(context.get());
  constexpr int kRequests = 40;
  for (int i = 0; i < kRequests; ++i) {
    stream->Write(Story(std::to_string(i), 10 + i, true).request());
  }
  stream->WritesDone();
  std::map<std::string, std::string> texts;
  int finals = 0;
  int responses = 0;
  ::inference::ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    ASSERT_EQ(response.error_message(), "");
    texts[response.infer_response().id()] += TextOutput(response.infer_response(), "text_output");
    finals += IsFinal(response) ? 1 : 0;
    ++responses;
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(finals, kRequests);
  EXPECT_GT(responses, kRequests);
  EXPECT_EQ(texts["2"], "w100 w101 w102 w103 w104 w105 w106 w107 w108 w109 w110 w111 ");
}

TEST_F(OpenInferenceTest, ErrorInAStreamIsThatRequestsOnly) {
  Serve();
  const auto context = Context();
  const auto stub = Stub();
  const auto stream = stub->ModelStreamInfer(context.get());
  stream->Write(Story("bad", -5, true).request());
  ::inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_NE(response.error_message().find("INVALID_ARGUMENT: max_tokens"), std::string::npos)
      << response.error_message();
  EXPECT_EQ(response.infer_response().id(), "bad");
  EXPECT_TRUE(IsFinal(response));
  stream->Write(Choice("good").request());
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error_message(), "");
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(OpenInferenceTest, CancelledStreamFreesAllItsRequests) {
  Serve();
  engine().Pause();
  const auto context = Context();
  const auto stub = Stub();
  const auto stream = stub->ModelStreamInfer(context.get());
  for (int i = 0; i < 20; ++i) stream->Write(Story("", 1000, true).request());
  ASSERT_TRUE(Eventually([&] { return engine().Stats().running == 20; }));
  context->TryCancel();
  stream->Finish();
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
}

TEST_F(OpenInferenceTest, UnreadStreamMergesItsOutputAndStopsReading) {
  Serve({.tick = std::chrono::microseconds(200), .tokens_per_tick = 200, .max_requests = 10'000});
  const auto context = Context();
  const auto stub = Stub();
  const auto stream = stub->ModelStreamInfer(context.get());
  stream->Write(Story("long", 200'000, true).request());
  ASSERT_TRUE(Eventually([&] { return engine().num_accepted() == 1; }));
  ASSERT_TRUE(Eventually([&] { return engine().Stats().idle; })) << "a slow client held it up";
  stream->WritesDone();
  int responses = 0;
  size_t bytes = 0;
  ::inference::ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    ++responses;
    bytes += TextOutput(response.infer_response(), "text_output").size();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(bytes, 1489300u);
  EXPECT_LT(responses, 50'000);
}

}  // namespace
}  // namespace spade
