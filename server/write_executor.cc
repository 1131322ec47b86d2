#include "server/write_executor.h"

#include <utility>

namespace spade {

WriteExecutor::WriteExecutor() : thread_([this] { Run(); }) {}

WriteExecutor::~WriteExecutor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void WriteExecutor::Post(std::shared_ptr<ResumableStream> stream) {
  bool was_empty;
  {
    std::lock_guard lock(mutex_);
    was_empty = posted_.empty();
    posted_.push_back(std::move(stream));
  }
  if (was_empty) wake_.notify_one();  // one wake-up for all the streams of an engine step
}

void WriteExecutor::Run() {
  std::vector<std::shared_ptr<ResumableStream>> streams;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !posted_.empty(); });
      if (posted_.empty()) return;
      streams.swap(posted_);
    }
    for (const auto& stream : streams) stream->Resume();
    streams.clear();
  }
}

}  // namespace spade
