#include "server/auth/quota.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/reason.h"

namespace spade {

Admission& Admission::operator=(Admission&& other) noexcept {
  std::swap(quota_, other.quota_);
  return *this;
}

Admission::~Admission() {
  if (quota_ != nullptr) quota_->End();
}

Quota::Quota(std::string tenant, prometheus::Counter* in_flight_refusals,
             prometheus::Counter* rate_refusals)
    : tenant_(std::move(tenant)),
      in_flight_refusals_(in_flight_refusals),
      rate_refusals_(rate_refusals) {}

void Quota::SetLimits(const TenantLimits& limits) {
  std::lock_guard lock(mutex_);
  limits_ = limits;
}

absl::StatusOr<Admission> Quota::Admit(Time now) {
  std::lock_guard lock(mutex_);
  if (limits_.max_in_flight.has_value() && in_flight_ >= *limits_.max_in_flight) {
    in_flight_refusals_->Increment();
    return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          tenant_, " has ", in_flight_, " requests in flight, its limit is ",
                          *limits_.max_in_flight, "; wait for one to end")),
                      Reason::kTenantLimit);
  }
  if (limits_.requests_per_second.has_value()) {
    const double rate = *limits_.requests_per_second;
    const double most = std::max(rate, 1.0);
    const double seconds = std::chrono::duration<double>(now - credited_at_).count();
    credit_ = std::clamp(credit_ + rate * std::max(seconds, 0.0), 0.0, most);
    credited_at_ = std::max(now, credited_at_);
    if (credit_ < 1) {
      rate_refusals_->Increment();
      const auto wait =
          std::chrono::milliseconds(static_cast<int64_t>(std::ceil((1 - credit_) / rate * 1000)));
      return RetryLater(absl::StrCat(tenant_, " may send ", rate, " requests a second; wait ",
                                     wait.count(), " ms"),
                        Reason::kTenantLimit, wait);
    }
    credit_ -= 1;
  }
  ++in_flight_;
  return Admission(shared_from_this());
}

void Quota::End() {
  std::lock_guard lock(mutex_);
  --in_flight_;
}

}  // namespace spade
