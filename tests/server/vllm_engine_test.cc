#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <string>
#include <vector>

#include "engine/base/sha256.h"
#include "server/vllm/tokenizer_archive.h"
#include "server/vllm/tokenizer_reactor.h"
#include "tests/server/server_fixture.h"
#include "vllm/vllm_engine.grpc.pb.h"

namespace spade {
namespace {

namespace api = ::vllm::grpc::engine;

class VllmEngineTest : public ServerTest {
 protected:
  std::unique_ptr<api::VllmEngine::Stub> Stub() { return api::VllmEngine::NewStub(channel()); }

  static api::GenerateRequest Prompt(uint32_t max_tokens, bool stream) {
    api::GenerateRequest request;
    request.set_request_id("r");
    for (uint32_t id = 100; id < 104; ++id) request.mutable_tokenized()->add_input_ids(id);
    request.mutable_sampling_params()->set_max_tokens(max_tokens);
    request.set_stream(stream);
    return request;
  }
};

TEST_F(VllmEngineTest, StreamSendsChunksThenComplete) {
  Serve({.tick = std::chrono::milliseconds(1)});
  const auto stub = Stub();
  const auto context = Context();
  const auto reader = stub->Generate(context.get(), Prompt(20, true));
  std::vector<uint32_t> ids;
  bool completed = false;
  api::GenerateResponse response;
  while (reader->Read(&response)) {
    EXPECT_FALSE(completed) << "complete is the last";
    ids.insert(ids.end(), response.chunk().token_ids().begin(), response.chunk().token_ids().end());
    completed = response.has_complete();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(completed);
  ASSERT_EQ(ids.size(), 20u);
  EXPECT_EQ(ids.back(), 119u);
  EXPECT_EQ(response.complete().finish_reason(), "length");
}

TEST_F(VllmEngineTest, WithoutStreamingOneMessagePerContinuation) {
  Serve();
  const auto stub = Stub();
  const auto context = Context();
  api::GenerateRequest request = Prompt(20, false);
  request.mutable_sampling_params()->set_n(3);
  const auto reader = stub->Generate(context.get(), request);
  int messages = 0;
  api::GenerateResponse response;
  while (reader->Read(&response)) {
    ++messages;
    EXPECT_EQ(response.complete().output_ids_size(), 20);
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(messages, 3);
}

TEST_F(VllmEngineTest, AbortEndsTheRequestAndFreesTheEngine) {
  Serve();
  const auto stub = Stub();
  const auto context = Context();
  const auto reader = stub->Generate(context.get(), Prompt(1'000'000, true));
  api::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  api::AbortRequest abort;
  abort.add_request_ids("another");
  abort.add_request_ids("r");
  api::AbortResponse aborted;
  EXPECT_TRUE(stub->Abort(Context().get(), abort, &aborted).ok());
  while (reader->Read(&response)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(response.complete().finish_reason(), "abort");
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
  EXPECT_TRUE(stub->Abort(Context().get(), abort, &aborted).ok()) << "ended long ago";
}

TEST_F(VllmEngineTest, AbortThatOvertakesItsRequestIsNotLost) {
  Serve();
  const auto stub = Stub();
  engine().set_on_submit([&] {
    api::AbortRequest abort;
    abort.add_request_ids("r");
    api::AbortResponse aborted;
    EXPECT_TRUE(stub->Abort(Context().get(), abort, &aborted).ok());
  });
  const auto context = Context();
  const auto reader = stub->Generate(context.get(), Prompt(1'000'000, true));
  api::GenerateResponse response;
  while (reader->Read(&response)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(response.complete().finish_reason(), "abort");
}

TEST_F(VllmEngineTest, DisconnectFreesTheEngine) {
  Serve();
  const auto stub = Stub();
  const auto context = Context();
  const auto reader = stub->Generate(context.get(), Prompt(1'000'000, true));
  api::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  context->TryCancel();
  reader->Finish();
  EXPECT_TRUE(Eventually([&] { return engine().Stats().idle; }));
}

TEST_F(VllmEngineTest, HealthFollowsLoadingStallsAndDraining) {
  Listen({.liveness_timeout = std::chrono::milliseconds(200)});
  const auto stub = Stub();
  const auto healthy = [&] {
    api::HealthCheckResponse response;
    EXPECT_TRUE(stub->HealthCheck(Context().get(), {}, &response).ok());
    EXPECT_FALSE(response.message().empty());
    return response.healthy();
  };
  EXPECT_FALSE(healthy());
  Serve();
  EXPECT_TRUE(healthy());
  engine().Pause();
  const auto context = Context();
  const auto reader = stub->Generate(context.get(), Prompt(5, true));
  EXPECT_TRUE(Eventually([&] { return !healthy(); })) << "stalled";
  engine().Resume();
  EXPECT_TRUE(Eventually(healthy));
}

TEST_F(VllmEngineTest, InfoAndLoadDescribeTheEngine) {
  Serve();
  engine().Pause();
  const auto stub = Stub();
  const auto context = Context();
  const auto reader = stub->Generate(context.get(), Prompt(5, true));
  ASSERT_TRUE(Eventually([&] { return !engine().Stats().idle; }));
  api::GetModelInfoResponse model;
  ASSERT_TRUE(stub->GetModelInfo(Context().get(), {}, &model).ok());
  EXPECT_EQ(model.served_model_name(), "fake");
  EXPECT_TRUE(model.is_generation());
  EXPECT_EQ(model.max_context_length(), 256u);
  EXPECT_EQ(model.model_type(), "llama");
  api::GetServerInfoResponse server;
  ASSERT_TRUE(stub->GetServerInfo(Context().get(), {}, &server).ok());
  EXPECT_EQ(server.active_requests(), 1u);
  EXPECT_EQ(server.server_type(), "vllm-grpc");
  EXPECT_GT(server.last_receive_timestamp(), 1.6e9);
  api::GetLoadsResponse loads;
  ASSERT_TRUE(stub->GetLoads(Context().get(), {}, &loads).ok());
  ASSERT_EQ(loads.loads_size(), 1);
  EXPECT_EQ(loads.loads(0).num_running_reqs(), 1);
  EXPECT_EQ(loads.loads(0).max_running_requests(), 64);
  context->TryCancel();
}

TEST_F(VllmEngineTest, EmbeddingsAreUnimplemented) {
  Serve();
  api::EmbedResponse response;
  const grpc::Status status = Stub()->Embed(Context().get(), {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_FALSE(status.error_message().empty());
}

TEST_F(VllmEngineTest, TokenizerComesInPiecesWithItsHashLast) {
  Serve();
  const auto stub = Stub();
  const auto context = Context();
  const auto reader = stub->GetTokenizer(context.get(), {});
  std::string zip;
  std::string hash;
  ::smg::grpc::common::GetTokenizerChunk chunk;
  while (reader->Read(&chunk)) {
    EXPECT_EQ(hash, "");
    EXPECT_LE(chunk.data().size(), TokenizerReactor::kChunkBytes);
    zip += chunk.data();
    hash = chunk.sha256();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_GT(zip.size(), TokenizerReactor::kChunkBytes);
  EXPECT_EQ(hash, Sha256Hex(zip));
  EXPECT_NE(zip.find("generation_config.json"), std::string::npos);
  EXPECT_EQ(zip.find("model.safetensors"), std::string::npos);
}

// gRPC's threads are few: none may wait for files that are read.
TEST(TokenizerArchiveTest, WhoAsksDoesNotWaitWhileItIsPacked) {
  std::latch may_pack(1);
  std::promise<std::string> told;
  TokenizerArchiveCache cache([&]() -> absl::StatusOr<TokenizerArchive> {
    may_pack.wait();
    return TokenizerArchive{"zip", "hash"};
  });
  cache.Get([&](const auto& archive) { told.set_value((*archive)->zip); });
  auto zip = told.get_future();
  EXPECT_EQ(zip.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  may_pack.count_down();
  EXPECT_EQ(zip.get(), "zip");
}

TEST(TokenizerArchiveTest, AFailureIsKeptToo) {
  std::atomic<int> num_packed = 0;
  const auto pack = [&]() -> absl::StatusOr<TokenizerArchive> {
    ++num_packed;
    return absl::NotFoundError("none");
  };
  std::atomic<int> num_told = 0;
  {
    TokenizerArchiveCache cache(pack);
    for (int i = 0; i < 5; ++i) {
      cache.Get([&](const auto& archive) { num_told += absl::IsNotFound(archive.status()); });
    }
  }
  EXPECT_EQ(num_packed, 1);
  EXPECT_EQ(num_told, 5);
}

TEST(TokenizerArchiveTest, FolderWithoutTokenizerIsNotFound) {
  EXPECT_EQ(PackTokenizer("/nonexistent").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(PackTokenizer(std::string(SPADE_SOURCE_DIR) + "/tests").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace spade
