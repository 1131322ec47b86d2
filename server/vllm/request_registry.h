#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace spade {

// A running request that can be ended from outside its own call.
class Abortable {
 public:
  virtual ~Abortable() = default;
  virtual void Abort() = 0;
};

// Running requests by their clients' ids, made the callers' own (Caller::Scoped); they need not be
// unique. Thread-safe.
class RequestRegistry {
 public:
  void Add(const std::string& id, const std::shared_ptr<Abortable>& request);
  void Remove(const std::string& id, const Abortable* request);
  // Unknown ids are no error: the request may just have ended.
  void Abort(const std::vector<std::string>& ids);

 private:
  struct Entry {
    const Abortable* key;
    std::weak_ptr<Abortable> request;
  };

  std::mutex mutex_;
  std::unordered_multimap<std::string, Entry> entries_;
};

}  // namespace spade
