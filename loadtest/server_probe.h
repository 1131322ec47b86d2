#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "loadtest/client.h"
#include "loadtest/workload.h"

namespace spade::loadtest {

struct ServerFacts {
  std::string version;
  std::string device;
  uint32_t running = 0;
  uint32_t waiting = 0;
  uint32_t kv_blocks_in_use = 0;

  bool idle() const { return running + waiting + kv_blocks_in_use == 0; }
};

// Asks a server about itself, over a connection of its own. Errors have the call's code.
class ServerProbe final {
 public:
  explicit ServerProbe(const ClientOptions& options);

  absl::StatusOr<ModelFacts> Model();
  absl::StatusOr<ServerFacts> Server();

  // The last answer: when the server was idle, or when the time was up.
  absl::StatusOr<ServerFacts> WaitIdle(std::chrono::seconds timeout);

 private:
  const ClientOptions options_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace spade::loadtest
