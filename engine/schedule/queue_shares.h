#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "engine/schedule/tenant_weights.h"

namespace spade {

// The room for what waits, by requests and by prompt tokens, and who gets it when it is full: the
// tenant that holds most of it for its weight gives up its last requests to one that holds less, so
// that nobody can keep others out by waiting. Within one tenant, and between equal ones, who is
// there stays. Not thread-safe.
class QueueShares {
 public:
  struct Limits {
    int32_t requests = 0;
    int64_t tokens = 0;
  };
  QueueShares(const Limits& limits, TenantWeights weights)
      : limits_(limits), weights_(std::move(weights)) {}

  // Requests of `tenant` that have to go: so many, and with so many prompt tokens, at least.
  struct Shed {
    std::string tenant;
    int32_t requests = 0;
    int64_t tokens = 0;
  };
  enum class Verdict { kAccepted, kTooManyRequests, kTooManyTokens };
  struct Answer {
    Verdict verdict = Verdict::kAccepted;
    std::optional<Shed> shed;  // of kAccepted: in whose place
  };
  // A request would wait. Accepted, it counts from now on. One alone may exceed the tokens.
  Answer Offer(const std::string& tenant, int64_t tokens);
  // Whether a request of `tenant`, whatever its prompt, would be refused: there are too many, and
  // none has to make room for it.
  bool IsFullFor(const std::string& tenant) const;
  // One waits no longer, whatever became of it.
  void Remove(const std::string& tenant, int64_t tokens);
  // What was to go has gone, as far as it was still there.
  void OnShed(const Shed& shed);

  int32_t requests() const { return all_.requests; }
  int64_t tokens() const { return all_.tokens; }

 private:
  struct Held {
    int32_t requests = 0;
    int64_t tokens = 0;
    int32_t shedding_requests = 0;  // of these
    int64_t shedding_tokens = 0;
    int32_t staying_requests() const { return requests - shedding_requests; }
    int64_t staying_tokens() const { return tokens - shedding_tokens; }
  };

  std::optional<Shed> Displace(const std::string& tenant, int64_t tokens, const Shed& need) const;
  void ForgetIfEmpty(const std::string& tenant);

  const Limits limits_;
  const TenantWeights weights_;
  std::map<std::string, Held> held_;  // those that have something waiting
  Held all_;
};

}  // namespace spade
