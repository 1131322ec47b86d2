#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace spade {

// A response stream that has something to send.
class ResumableStream {
 public:
  virtual ~ResumableStream() = default;
  virtual void Resume() = 0;    // must not block
  virtual void CheckStall() {}  // ends it where its client does not read; must not block
};

// Serialization and socket writes happen on this thread and on gRPC's, never on the engine's: the
// engine posts a stream (a lock and a push) and goes on. One thread: streams rely on Resume never
// running twice at once. Thread-safe.
class WriteExecutor {
 public:
  WriteExecutor();
  ~WriteExecutor();  // resumes what is posted, then stops
  WriteExecutor(const WriteExecutor&) = delete;
  WriteExecutor& operator=(const WriteExecutor&) = delete;

  void Post(std::shared_ptr<ResumableStream> stream);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<ResumableStream>> posted_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace spade
