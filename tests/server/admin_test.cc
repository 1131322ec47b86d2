#include <gtest/gtest.h>

#include <sstream>

#include "server/client/print.h"
#include "spade/v1/admin.grpc.pb.h"
#include "tests/server/server_fixture.h"

namespace spade {
namespace {

class AdminTest : public ServerTest {
 protected:
  grpc::Status List(uint32_t limit, v1::ListRequestsResponse* response) {
    const auto context = Context();
    v1::ListRequestsRequest request;
    request.set_limit(limit);
    return v1::Admin::NewStub(channel())->ListRequests(context.get(), request, response);
  }
  void ServeTwo() {
    ListenOptions options;
    options.admin = true;
    Listen(options);
    Serve();
    RequestRecord finished;
    finished.number = 2;
    finished.id = "r-2";
    finished.tenant = "gold";
    finished.received = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'500));
    finished.scheduled_s = 0.25;
    finished.first_answer_s = 0.5;
    finished.ended_s = 2;
    finished.prompt_tokens = 12;
    finished.output_tokens = 34;
    RequestRecord refused;
    refused.number = 1;
    refused.id = "r-1";
    refused.decides = true;
    refused.code = absl::StatusCode::kResourceExhausted;
    refused.reason = Reason::kQueueTime;
    engine().SetRecentRequests({finished, refused});
  }
};

TEST_F(AdminTest, IsNotServedUnlessAskedFor) {
  Serve();
  v1::ListRequestsResponse response;
  EXPECT_EQ(List(0, &response).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(AdminTest, ListsTheTimelines) {
  ServeTwo();
  v1::ListRequestsResponse response;
  ASSERT_TRUE(List(0, &response).ok());
  ASSERT_EQ(response.requests_size(), 2);
  const v1::RequestRecord& finished = response.requests(0);
  EXPECT_EQ(finished.request_id(), "r-2");
  EXPECT_EQ(finished.tenant(), "gold");
  EXPECT_EQ(finished.kind(), "generate");
  EXPECT_EQ(finished.received().seconds(), 1);
  EXPECT_EQ(finished.received().nanos(), 500'000'000);
  EXPECT_EQ(finished.scheduled_seconds(), 0.25);
  EXPECT_EQ(finished.output_tokens(), 34u);
  EXPECT_EQ(finished.reason(), "none");
  const v1::RequestRecord& refused = response.requests(1);
  EXPECT_EQ(refused.kind(), "decide");
  EXPECT_FALSE(refused.has_scheduled_seconds());
  EXPECT_EQ(refused.code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.reason(), "queue_time");
}

TEST_F(AdminTest, TheLimitTakesTheNewest) {
  ServeTwo();
  v1::ListRequestsResponse response;
  ASSERT_TRUE(List(1, &response).ok());
  ASSERT_EQ(response.requests_size(), 1);
  EXPECT_EQ(response.requests(0).request_id(), "r-2");
}

TEST_F(AdminTest, TheClientPrintsATable) {
  ServeTwo();
  v1::ListRequestsResponse response;
  ASSERT_TRUE(List(0, &response).ok());
  std::ostringstream out;
  PrintRequests(response, out);
  const std::string table = out.str();
  EXPECT_NE(table.find("1970-01-01T00:00:01.500"), std::string::npos) << table;
  EXPECT_NE(table.find("RESOURCE_EXHAUSTED queue_time"), std::string::npos) << table;
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 3) << table;
}

}  // namespace
}  // namespace spade
