#pragma once

#include <prometheus/counter.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "server/auth/token_file.h"

namespace spade {

class Quota;

// A request that counts as in flight for as long as this lives; move-only. Default: of no tenant.
class Admission {
 public:
  Admission() = default;
  explicit Admission(std::shared_ptr<Quota> quota) : quota_(std::move(quota)) {}
  Admission(Admission&& other) noexcept : quota_(std::move(other.quota_)) {}
  Admission& operator=(Admission&& other) noexcept;
  ~Admission();

 private:
  std::shared_ptr<Quota> quota_;
};

// One tenant's limits and what it has used of them. Thread-safe.
class Quota : public std::enable_shared_from_this<Quota> {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // The counters of refusals by each limit outlive this.
  Quota(std::string tenant, prometheus::Counter* in_flight_refusals,
        prometheus::Counter* rate_refusals);

  // What is in flight stays, whatever the new limits are.
  void SetLimits(const TenantLimits& limits);

  // RESOURCE_EXHAUSTED, with the time to wait, at a limit.
  absl::StatusOr<Admission> Admit(Time now);

 private:
  friend class Admission;
  void End();

  const std::string tenant_;
  prometheus::Counter* const in_flight_refusals_;
  prometheus::Counter* const rate_refusals_;

  std::mutex mutex_;
  TenantLimits limits_;
  int64_t in_flight_ = 0;
  double credit_ = 0;  // requests that may start now
  Time credited_at_ = {};
};

}  // namespace spade
