#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <prometheus/counter.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "server/metrics_endpoint.h"
#include "server/process_metrics.h"
#include "server/rpc_metrics.h"

namespace spade {
namespace {

std::string Http(const std::string& method, int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const std::string request = method + " " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  std::string response;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
    response.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  return response;
}

std::string HttpGet(int port, const std::string& path) { return Http("GET", port, path); }

TEST(MetricsEndpointTest, AScrapeHoldsTheRegistryAndTheProcess) {
  const auto registry = std::make_shared<prometheus::Registry>();
  RpcMetrics rpcs(registry.get());
  rpcs.Handled(RpcMethod::kDecide, grpc::StatusCode::NOT_FOUND, 0.2);
  const auto endpoint = MetricsEndpoint::Start("127.0.0.1:0", registry);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const std::string page = HttpGet((*endpoint)->port(), "/metrics");
  for (const char* line :
       {"grpc_server_handled_total{grpc_code=\"NotFound\",grpc_method=\"Decide\","
        "grpc_service=\"spade.v1.InferenceService\",grpc_type=\"server_stream\"} 1",
        "grpc_server_handling_seconds_bucket{", "process_resident_memory_bytes ",
        "spade_build_info{version="}) {
    EXPECT_NE(page.find(line), std::string::npos) << line << "\n" << page;
  }
}

TEST(MetricsEndpointTest, HeadIsAnsweredWithoutABody) {
  const auto endpoint =
      MetricsEndpoint::Start("127.0.0.1:0", std::make_shared<prometheus::Registry>());
  ASSERT_TRUE(endpoint.ok());
  for (const auto& [path, code] : {std::pair("/metrics", " 200 "), std::pair("/other", " 404 ")}) {
    const std::string page = Http("HEAD", (*endpoint)->port(), path);
    EXPECT_NE(page.find(code), std::string::npos) << page;
    EXPECT_EQ(page.find("\r\n\r\n"), page.size() - 4) << page;
  }
}

TEST(MetricsEndpointTest, TakenPortIsAnErrorThatNamesTheFlag) {
  const auto registry = std::make_shared<prometheus::Registry>();
  const auto first = MetricsEndpoint::Start("127.0.0.1:0", registry);
  ASSERT_TRUE(first.ok());
  const auto second =
      MetricsEndpoint::Start("127.0.0.1:" + std::to_string((*first)->port()), registry);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(std::string(second.status().message()).find("--metrics-listen"), std::string::npos);
}

TEST(MetricsEndpointTest, NothingElseIsServed) {
  const auto endpoint =
      MetricsEndpoint::Start("127.0.0.1:0", std::make_shared<prometheus::Registry>());
  ASSERT_TRUE(endpoint.ok());
  for (const char* path : {"/", "/etc/passwd", "/../../../../etc/passwd", "/metrics/../etc/passwd",
                           "/%2e%2e/%2e%2e/etc/passwd"}) {
    const std::string page = HttpGet((*endpoint)->port(), path);
    EXPECT_NE(page.find("HTTP/1."), std::string::npos) << path;
    EXPECT_EQ(page.find(" 200 "), std::string::npos) << path << "\n" << page;
  }
}

TEST(MetricsEndpointTest, OffIsNoEndpoint) {
  const auto endpoint = MetricsEndpoint::Start("", nullptr);
  ASSERT_TRUE(endpoint.ok());
  EXPECT_EQ(*endpoint, nullptr);
}

TEST(ProcessMetricsTest, ValuesArePlausible) {
  std::map<std::string, double> values;
  for (const auto& family : ProcessMetrics().Collect()) {
    values[family.name] = family.metric.at(0).gauge.value + family.metric.at(0).counter.value;
  }
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_GT(values.at("process_resident_memory_bytes"), 1e6);
  EXPECT_LT(values.at("process_resident_memory_bytes"), values.at("process_virtual_memory_bytes"));
  EXPECT_GE(values.at("process_threads"), 1);
  EXPECT_GE(values.at("process_open_fds"), 3);
  EXPECT_GE(values.at("process_max_fds"), values.at("process_open_fds"));
  EXPECT_LE(values.at("process_start_time_seconds"), now + 2);
  EXPECT_GT(values.at("process_start_time_seconds"), now - 3600);
}

}  // namespace
}  // namespace spade
