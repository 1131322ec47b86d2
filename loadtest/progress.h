#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "loadtest/client.h"

namespace spade::loadtest {

// While it lives, a line about the client on stderr: rewritten twice a second on a terminal, added
// every ten seconds elsewhere.
class Progress final {
 public:
  Progress(const Client& client, std::string title);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  void Loop();
  std::string MakeLine();

  const Client& client_;
  const std::string title_;
  const bool terminal_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;  // guarded by mutex_
  double last_at_ = 0;
  uint64_t last_ended_ = 0;
  uint64_t last_tokens_ = 0;
  uint64_t last_answers_ = 0;
  uint64_t last_ttft_micros_ = 0;
  std::thread thread_;
};

}  // namespace spade::loadtest
