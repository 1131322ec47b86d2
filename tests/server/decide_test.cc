#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "server/decide_stream_reactor.h"
#include "tests/server/server_fixture.h"

namespace spade {
namespace {

using DecideTest = ServerTest;
using DecideStreamTest = ServerTest;

std::vector<v1::DecideResponse> ReadAll(grpc::ClientReader<v1::DecideResponse>& reader,
                                        grpc::Status& status) {
  std::vector<v1::DecideResponse> responses;
  v1::DecideResponse response;
  while (reader.Read(&response)) responses.push_back(response);
  status = reader.Finish();
  return responses;
}

TEST_F(DecideTest, ExactSendsOneFinalAnswer) {
  Serve();
  const auto context = Context();
  grpc::Status status;
  const auto reader = stub().Decide(context.get(), Question("q", 5));
  const auto responses = ReadAll(*reader, status);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(responses.size(), 1u);
  EXPECT_EQ(responses[0].request_id(), "q");
  EXPECT_EQ(responses[0].kind(), v1::DecideResponse::KIND_FINAL);
  EXPECT_EQ(responses[0].label(), " bank");
  EXPECT_EQ(responses[0].label_index(), 1u);
  EXPECT_EQ(responses[0].probabilities_size(), 2);
  EXPECT_EQ(responses[0].num_layers(), 12u);
  EXPECT_DOUBLE_EQ(responses[0].compute_saved(), 0.25);
}

TEST_F(DecideTest, VerifiedSendsAnEarlyAnswerAndSaysThatItWasCorrected) {
  Serve();
  const auto context = Context();
  grpc::Status status;
  v1::DecideRequest request = Question("q", 5);
  request.set_mode(v1::MODE_VERIFIED);
  request.set_max_mismatch(0.01);
  const auto reader = stub().Decide(context.get(), request);
  const auto responses = ReadAll(*reader, status);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(responses.size(), 2u);
  EXPECT_EQ(responses[0].kind(), v1::DecideResponse::KIND_EARLY);
  EXPECT_FALSE(responses[0].corrected());
  EXPECT_EQ(responses[1].kind(), v1::DecideResponse::KIND_FINAL);
  EXPECT_TRUE(responses[1].corrected());
}

TEST_F(DecideTest, FastWithoutCertificateIsAPrecondition) {
  Serve();
  const auto context = Context();
  grpc::Status status;
  v1::DecideRequest request = Question("q");
  request.set_mode(v1::MODE_FAST);
  request.set_max_mismatch(0.01);
  const auto reader = stub().Decide(context.get(), request);
  ReadAll(*reader, status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(DecideStreamTest, EveryRequestIsAnsweredOnce) {
  Serve();
  const auto context = Context();
  const auto stream = stub().DecideStream(context.get());
  constexpr int kRequests = 2000;
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) stream->Write(Question(std::to_string(i), 1 + i % 7));
    stream->WritesDone();
  });
  std::set<std::string> answered;
  v1::DecideResponse response;
  int wrong = 0;
  while (stream->Read(&response)) {
    EXPECT_TRUE(answered.insert(response.request_id()).second);
    const int tokens = 1 + std::stoi(response.request_id()) % 7;
    if (response.label_index() != static_cast<uint32_t>(tokens % 2)) ++wrong;
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answered.size(), static_cast<size_t>(kRequests));
  EXPECT_EQ(wrong, 0);
}

TEST_F(DecideStreamTest, AFailedRequestLeavesTheStreamOpen) {
  Serve();
  const auto context = Context();
  const auto stream = stub().DecideStream(context.get());
  v1::DecideRequest bad = Question("bad");
  bad.clear_labels();
  stream->Write(bad);
  v1::DecideResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.request_id(), "bad");
  EXPECT_EQ(response.error().code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(response.error().message().find("labels"), std::string::npos);
  stream->Write(Question("good"));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.request_id(), "good");
  EXPECT_FALSE(response.has_error());
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(DecideStreamTest, RequestIdMustBeGivenAndUnique) {
  Serve();
  engine().Pause();
  const auto context = Context();
  const auto stream = stub().DecideStream(context.get());
  stream->Write(Question(""));
  v1::DecideResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error().code(), grpc::StatusCode::INVALID_ARGUMENT);
  stream->Write(Question("twin"));
  stream->Write(Question("twin"));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error().code(), grpc::StatusCode::ALREADY_EXISTS);
  engine().Resume();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_FALSE(response.has_error());
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(DecideStreamTest, ReadingStopsAtTheLimitAndGoesOnAfterAnswers) {
  Serve({.max_requests = 100'000});
  engine().Pause();
  const auto context = Context();
  const auto stream = stub().DecideStream(context.get());
  constexpr int kRequests = DecideStreamReactor::kMaxInFlight + 300;
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) stream->Write(Question(std::to_string(i)));
    stream->WritesDone();
  });
  const auto accepted = [&] { return static_cast<size_t>(engine().num_accepted()); };
  EXPECT_TRUE(Eventually([&] { return accepted() == DecideStreamReactor::kMaxInFlight; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(accepted(), DecideStreamReactor::kMaxInFlight);
  engine().Resume();
  int answered = 0;
  v1::DecideResponse response;
  while (stream->Read(&response)) ++answered;
  writer.join();
  EXPECT_EQ(answered, kRequests);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(DecideStreamTest, CancelFreesAllItsRequests) {
  Serve();
  engine().Pause();
  const auto context = Context();
  const auto stream = stub().DecideStream(context.get());
  for (int i = 0; i < 20; ++i) stream->Write(Question(std::to_string(i)));
  ASSERT_TRUE(Eventually([&] { return engine().Stats().running == 20; }));
  context->TryCancel();
  stream->Finish();
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
  EXPECT_EQ(engine().num_cancelled(), 20);
}

TEST_F(DecideStreamTest, FullQueueFailsThatRequestOnly) {
  Serve({.max_requests = 1});
  engine().Pause();
  const auto context = Context();
  const auto stream = stub().DecideStream(context.get());
  stream->Write(Question("first"));
  stream->Write(Question("second"));
  v1::DecideResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.request_id(), "second");
  EXPECT_EQ(response.error().code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  engine().Resume();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.request_id(), "first");
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace spade
