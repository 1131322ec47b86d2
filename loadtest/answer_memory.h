#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace spade::loadtest {

// The first answer to each request that is sent more than once. Thread-safe.
class AnswerMemory final {
 public:
  // Whether `answer` is the first one to `request` or equals the first.
  bool Agrees(uint64_t request, uint64_t answer) {
    std::lock_guard lock(mutex_);
    return answers_.emplace(request, answer).first->second == answer;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<uint64_t, uint64_t> answers_;  // guarded by mutex_
};

}  // namespace spade::loadtest
