#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "spade/v1/error_details.pb.h"
#include "tests/server/server_fixture.h"

namespace spade {
namespace {

using GenerateTest = ServerTest;

struct Output {
  std::string text;
  std::vector<uint32_t> token_ids;
  int num_messages = 0;
  v1::Finish finish;
  grpc::Status status;
};

Output ReadAll(grpc::ClientReader<v1::GenerateResponse>& reader) {
  Output output;
  v1::GenerateResponse response;
  while (reader.Read(&response)) {
    ++output.num_messages;
    output.text += response.text_delta();
    output.token_ids.insert(output.token_ids.end(), response.token_ids().begin(),
                            response.token_ids().end());
    if (response.has_finish()) output.finish = response.finish();
  }
  output.status = reader.Finish();
  return output;
}

std::string TextOf(int num_tokens) {
  std::string text;
  for (int i = 0; i < num_tokens; ++i) absl::StrAppend(&text, "w", 100 + i, " ");
  return text;
}

TEST_F(GenerateTest, DeltasMakeUpTheWholeOutput) {
  Serve();
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(50));
  const Output output = ReadAll(*reader);
  ASSERT_TRUE(output.status.ok()) << output.status.error_message();
  EXPECT_EQ(output.text, TextOf(50));
  EXPECT_EQ(output.token_ids.size(), 50u);
  EXPECT_EQ(output.finish.reason(), v1::Finish::REASON_LENGTH);
  EXPECT_EQ(output.finish.usage().output_tokens(), 50u);
}

TEST_F(GenerateTest, OutputArrivesWhileTheEngineStillWorks) {
  Serve({.tick = std::chrono::milliseconds(5)});
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(200));
  v1::GenerateResponse first;
  ASSERT_TRUE(reader->Read(&first));
  EXPECT_LT(first.token_ids_size(), 100);
  EXPECT_FALSE(engine().Stats().idle);
  context->TryCancel();
  reader->Finish();
}

TEST_F(GenerateTest, RequestIdComesBackAsMetadata) {
  Serve();
  const auto context = Context();
  v1::GenerateRequest request = Generation(1);
  request.set_request_id("my id");
  const auto reader = stub().Generate(context.get(), request);
  ReadAll(*reader);
  const auto& metadata = context->GetServerInitialMetadata();
  const auto id = metadata.find("x-request-id");
  ASSERT_NE(id, metadata.end());
  EXPECT_EQ(id->second, "my_id");
}

TEST_F(GenerateTest, EveryContinuationFinishes) {
  Serve();
  const auto context = Context();
  v1::GenerateRequest request = Generation(8);
  request.set_n(3);
  const auto reader = stub().Generate(context.get(), request);
  std::vector<std::string> texts(3);
  int finished = 0;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    texts.at(response.index()) += response.text_delta();
    finished += response.has_finish() ? 1 : 0;
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(finished, 3);
  for (const auto& text : texts) EXPECT_EQ(text, TextOf(8));
}

TEST_F(GenerateTest, CancelFreesTheEngine) {
  Serve();
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(1'000'000));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context->TryCancel();
  EXPECT_EQ(ReadAll(*reader).status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
  EXPECT_EQ(engine().num_cancelled(), 1);
  EXPECT_TRUE(
      Eventually([&] { return Metric("grpc_server_handled_total", "Generate", "Canceled") == 1; }));
}

TEST_F(GenerateTest, CancelBeforeTheFirstTokenFreesTheEngine) {
  Serve();
  engine().Pause();
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(10));
  ASSERT_TRUE(Eventually([&] { return !engine().Stats().idle; }));
  context->TryCancel();
  reader->Finish();
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
}

TEST_F(GenerateTest, DeadlineReachesTheEngine) {
  Serve();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  const auto reader = stub().Generate(&context, Generation(1'000'000));
  EXPECT_EQ(ReadAll(*reader).status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
  EXPECT_TRUE(Eventually(
      [&] { return Metric("grpc_server_handled_total", "Generate", "DeadlineExceeded") == 1; }));
}

TEST_F(GenerateTest, FullQueueTellsWhenToRetry) {
  Serve({.max_requests = 0});
  const auto context = Context();
  const auto reader = stub().Generate(context.get(), Generation(1));
  const grpc::Status status = ReadAll(*reader).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  v1::StatusDetails details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), 8);
  ASSERT_EQ(details.details_size(), 1);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
  v1::RetryInfo retry;
  ASSERT_TRUE(retry.ParseFromString(details.details(0).value()));
  EXPECT_GT(retry.retry_delay().seconds() * 1'000'000'000 + retry.retry_delay().nanos(), 0);
}

TEST_F(GenerateTest, SlowReaderGetsEverythingAndHoldsUpNobody) {
  Serve({.tick = std::chrono::microseconds(200), .tokens_per_tick = 200});
  const auto slow_context = Context();
  v1::GenerateRequest long_request = Generation(200'000);
  // Past HTTP/2's windows and socket buffers, so that writes to this client do block.
  const auto slow = stub().Generate(slow_context.get(), long_request);
  // Not reading `slow`, the others run to their ends, and so does the engine on its behalf.
  for (int i = 0; i < 5; ++i) {
    const auto context = Context();
    const auto reader = stub().Generate(context.get(), Generation(100));
    EXPECT_TRUE(ReadAll(*reader).status.ok());
  }
  ASSERT_TRUE(Eventually([&] { return engine().Stats().idle; }));
  const Output output = ReadAll(*slow);
  EXPECT_TRUE(output.status.ok());
  EXPECT_EQ(output.text, TextOf(200'000));
  EXPECT_LT(output.num_messages, 50'000) << "pending deltas must merge";
}

TEST_F(GenerateTest, ManyConcurrentStreams) {
  Serve();
  std::atomic<int> good = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 64; ++i) {
    clients.emplace_back([&, i] {
      const auto context = Context();
      const auto reader = stub().Generate(context.get(), Generation(20 + i));
      const Output output = ReadAll(*reader);
      if (output.status.ok() && output.text == TextOf(20 + i)) ++good;
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(good, 64);
  EXPECT_TRUE(
      Eventually([&] { return Metric("grpc_server_handled_total", "Generate", "OK") == 64; }));
}

TEST_F(GenerateTest, CancellationAtAnyMomentIsSafe) {
  Serve({.tick = std::chrono::microseconds(100)});
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      for (int round = 0; round < 20; ++round) {
        const auto context = Context();
        const auto reader = stub().Generate(context.get(), Generation(10));
        std::this_thread::sleep_for(std::chrono::microseconds(97 * (i + 8 * round)));
        context->TryCancel();
        ReadAll(*reader);
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
  EXPECT_TRUE(Eventually([&] {
    return Metric("grpc_server_handled_total", "Generate", "OK") +
               Metric("grpc_server_handled_total", "Generate", "Canceled") ==
           Metric("grpc_server_started_total", "Generate", "");
  }));
}

}  // namespace
}  // namespace spade
