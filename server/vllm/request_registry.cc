#include "server/vllm/request_registry.h"

#include <set>
#include <utility>

namespace spade {

void RequestRegistry::Add(const std::string& id, const std::shared_ptr<Abortable>& request) {
  std::lock_guard lock(mutex_);
  entries_.emplace(id, Entry{request.get(), request});
}

void RequestRegistry::Remove(const std::string& id, const Abortable* request) {
  std::lock_guard lock(mutex_);
  const auto [begin, end] = entries_.equal_range(id);
  for (auto entry = begin; entry != end; ++entry) {
    if (entry->second.key != request) continue;
    entries_.erase(entry);
    return;
  }
}

void RequestRegistry::Abort(const std::vector<std::string>& ids) {
  std::set<std::shared_ptr<Abortable>> requests;  // let go outside the lock: they Remove
  {
    std::lock_guard lock(mutex_);
    for (const std::string& id : ids) {
      const auto [begin, end] = entries_.equal_range(id);
      for (auto entry = begin; entry != end; ++entry) {
        if (auto request = entry->second.request.lock()) requests.insert(std::move(request));
      }
    }
  }
  for (const auto& request : requests) request->Abort();
}

}  // namespace spade
