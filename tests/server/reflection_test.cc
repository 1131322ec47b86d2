#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/server/server_fixture.h"

namespace spade {
namespace {

using ReflectionTest = ServerTest;

// Sends one serialized message on a bidirectional method and returns the first answer's bytes.
std::string Exchange(std::shared_ptr<grpc::Channel> channel, const std::string& method,
                     const std::string& message) {
  grpc::GenericStub stub(std::move(channel));
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  const auto call = stub.PrepareCall(&context, method, &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  EXPECT_TRUE(queue.Next(&tag, &ok) && ok);
  grpc::Slice slice(message);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  EXPECT_TRUE(queue.Next(&tag, &ok) && ok);
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  EXPECT_TRUE(queue.Next(&tag, &ok) && ok);
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(response.Dump(&slices).ok());
  std::string bytes;
  for (const auto& part : slices) bytes.append(part.begin(), part.end());
  return bytes;
}

TEST_F(ReflectionTest, ListsTheServices) {
  Serve();
  // ServerReflectionRequest{list_services = 7: "*"}
  const std::string answer = Exchange(
      channel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "\x3a\x01*");
  EXPECT_NE(answer.find("spade.v1.InferenceService"), std::string::npos);
  EXPECT_NE(answer.find("inference.GRPCInferenceService"), std::string::npos);
  EXPECT_NE(answer.find("vllm.grpc.engine.VllmEngine"), std::string::npos);
  EXPECT_NE(answer.find("grpc.health.v1.Health"), std::string::npos);
}

}  // namespace
}  // namespace spade
