#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/base/sha256.h"
#include "inference/open_inference.grpc.pb.h"
#include "tests/server/infer_request.h"
#include "tests/server/server_fixture.h"
#include "tests/testing/temp_dir.h"
#include "vllm/vllm_engine.grpc.pb.h"

namespace spade {
namespace {

namespace vllm_engine = ::vllm::grpc::engine;

// Two tenants, whose names are their tokens.
class TenantsTest : public ServerTest {
 protected:
  TenantsTest() {
    ListenOptions options;
    options.token_file =
        folder_.Write("tokens", "alice " + Sha256Hex("alice") + "\nbob " + Sha256Hex("bob") + "\n");
    Listen(options);
    Serve();
  }

  static std::unique_ptr<grpc::ClientContext> As(const std::string& tenant) {
    auto context = Context();
    context->AddMetadata("authorization", "Bearer " + tenant);
    return context;
  }
  static ::inference::ModelInferRequest Inference() {
    return InferRequestBuilder("fake").Text("text_input", {"hello"}).request();
  }
  static vllm_engine::GenerateRequest VllmPrompt() {
    vllm_engine::GenerateRequest request;
    request.set_request_id("r");
    request.mutable_tokenized()->add_input_ids(100);
    request.mutable_sampling_params()->set_max_tokens(2);
    return request;
  }

  const testing::TempDir folder_;
};

template <typename Reader, typename Response>
grpc::Status ReadAll(Reader& reader, Response response) {
  while (reader.Read(&response)) {
  }
  return reader.Finish();
}

TEST_F(TenantsTest, TheirOwnSaltsAreApart) {
  for (const char* tenant : {"alice", "bob"}) {
    const auto context = As(tenant);
    v1::GenerateRequest request = Generation(1);
    request.set_cache_salt("same");
    EXPECT_TRUE(ReadAll(*stub().Generate(context.get(), request), v1::GenerateResponse()).ok());
  }
  EXPECT_EQ(engine().cache_salts(), (std::vector<std::string>{"alice\nsame", "bob\nsame"}));
}

TEST_F(TenantsTest, EveryWayToTheEngineIsScoped) {
  const auto generate = As("alice");
  EXPECT_TRUE(
      ReadAll(*stub().Generate(generate.get(), Generation(1)), v1::GenerateResponse()).ok());
  const auto decide = As("alice");
  EXPECT_TRUE(ReadAll(*stub().Decide(decide.get(), Question("q")), v1::DecideResponse()).ok());

  const auto decide_stream = As("alice");
  const auto decisions = stub().DecideStream(decide_stream.get());
  decisions->Write(Question("q"));
  decisions->WritesDone();
  EXPECT_TRUE(ReadAll(*decisions, v1::DecideResponse()).ok());

  const auto open_inference = ::inference::GRPCInferenceService::NewStub(channel());
  const auto infer = As("alice");
  ::inference::ModelInferResponse response;
  EXPECT_TRUE(open_inference->ModelInfer(infer.get(), Inference(), &response).ok());
  const auto infer_stream = As("alice");
  const auto inferences = open_inference->ModelStreamInfer(infer_stream.get());
  inferences->Write(Inference());
  inferences->WritesDone();
  EXPECT_TRUE(ReadAll(*inferences, ::inference::ModelStreamInferResponse()).ok());

  const auto vllm = As("alice");
  EXPECT_TRUE(
      ReadAll(*vllm_engine::VllmEngine::NewStub(channel())->Generate(vllm.get(), VllmPrompt()),
              vllm_engine::GenerateResponse())
          .ok());
  EXPECT_EQ(engine().cache_salts(), std::vector<std::string>(6, "alice\n"));
}

TEST_F(TenantsTest, TheOpenInferenceProtocolHasSaltsToo) {
  const auto stub = ::inference::GRPCInferenceService::NewStub(channel());
  ::inference::ModelInferRequest generation = Inference();
  (*generation.mutable_parameters())["cache_salt"].set_string_param("one");
  ::inference::ModelInferRequest decision = InferRequestBuilder("fake-decide")
                                                .Text("text", {"hello"})
                                                .Text("labels", {" car", " bank"})
                                                .request();
  (*decision.mutable_parameters())["cache_salt"].set_string_param("two");
  for (const auto& request : {generation, decision}) {
    const auto context = As("alice");
    ::inference::ModelInferResponse response;
    const grpc::Status status = stub->ModelInfer(context.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(engine().cache_salts(), (std::vector<std::string>{"alice\none", "alice\ntwo"}));
}

TEST_F(TenantsTest, NobodyAbortsAnothersRequest) {
  engine().Pause();
  const auto stub = vllm_engine::VllmEngine::NewStub(channel());
  const auto context = As("alice");
  const auto reader = stub->Generate(context.get(), VllmPrompt());
  ASSERT_TRUE(Eventually([&] { return engine().num_accepted() == 1; }));
  vllm_engine::AbortRequest abort;
  abort.add_request_ids("r");
  abort.add_request_ids("alice\nr");
  vllm_engine::AbortResponse unused;
  const auto by_bob = As("bob");
  EXPECT_TRUE(stub->Abort(by_bob.get(), abort, &unused).ok());
  EXPECT_EQ(engine().num_cancelled(), 0);
  // Alice herself may; her request is known as soon as its stream has begun.
  EXPECT_TRUE(Eventually([&] {
    const auto by_alice = As("alice");
    EXPECT_TRUE(stub->Abort(by_alice.get(), abort, &unused).ok());
    return engine().num_cancelled() > 0;
  }));
  engine().Resume();
  ReadAll(*reader, vllm_engine::GenerateResponse());
}

}  // namespace
}  // namespace spade
