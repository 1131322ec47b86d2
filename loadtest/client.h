#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "loadtest/answer_memory.h"
#include "loadtest/request.h"
#include "loadtest/run_log.h"
#include "loadtest/workload.h"

namespace spade::loadtest {

struct ClientOptions {
  std::string target = "localhost:50051";
  int num_threads = 1;         // each with a completion queue of its own
  int num_connections = 1;     // of each thread
  bool check_repeats = false;  // the same request must get the same answer, to the bit
  double timeout_s = 60;       // deadline of every request that has no tiny one; 0: none
  std::shared_ptr<grpc::ChannelCredentials> credentials;  // null: no TLS
  std::string token;                                      // sent as a bearer token; empty: none

  void AddToken(grpc::ClientContext& context) const {
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
  }
};

// Counters for the progress line; every one only grows.
struct LiveCounts {
  std::atomic<uint64_t> started{0};
  std::atomic<uint64_t> ended{0};
  std::atomic<uint64_t> failed{0};  // ended with another code than OK
  std::atomic<uint64_t> output_tokens{0};
  std::atomic<uint64_t> first_answers{0};
  std::atomic<uint64_t> ttft_micros{0};  // their sum
};

// Sends requests and records what comes back. Each of its threads drives the streams that it
// started, and gRPC works best so: `Start` is called from the two functions of the user only.
class Client final {
 public:
  struct Hooks {
    // On the thread `worker`, after Wake, and from then on at the time that it returned, in seconds
    // since Connect; infinity: not before the next Wake. A turn may be late by two milliseconds.
    std::function<double(int worker)> on_turn;
    // On the thread `worker`, once per stream of its own that ended.
    std::function<void(int worker)> on_end;
  };

  Client(ClientOptions options, const Workload& workload, Hooks hooks);
  // Cancels what still runs and waits for it.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // UNAVAILABLE if a connection is not up in time.
  absl::Status Connect(std::chrono::seconds timeout);

  // Has the thread call on_turn soon, once for all calls before that. From any thread.
  void Wake(int worker);

  // `due` in seconds since Connect, as all times in the log.
  void Start(int worker, const RequestSpec& spec, double due);

  double Now() const;
  uint64_t num_running() const {
    const uint64_t ended = counts_.ended;  // first, so that the difference is never negative
    return counts_.started - ended;
  }
  const LiveCounts& counts() const { return counts_; }

  // False if streams are still without a status after `timeout_s`.
  bool WaitIdle(double timeout_s) const;

  void CancelAll();

  // Everything recorded; call it when idle.
  RunLog TakeLog();

 private:
  class Worker;

  ClientOptions options_;
  const Workload& workload_;
  Hooks hooks_;
  std::chrono::steady_clock::time_point start_;
  LiveCounts counts_;
  AnswerMemory memory_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace spade::loadtest
