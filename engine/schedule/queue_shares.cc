#include "engine/schedule/queue_shares.h"

#include <algorithm>

namespace spade {

QueueShares::Answer QueueShares::Offer(const std::string& tenant, int64_t tokens) {
  Shed need;
  need.requests = std::max(all_.staying_requests() + 1 - limits_.requests, 0);
  if (all_.staying_requests() > 0) {
    need.tokens = std::max<int64_t>(all_.staying_tokens() + tokens - limits_.tokens, 0);
  }
  Answer answer;
  Held& own = held_[tenant];  // first, for it alone can fail: nothing is counted yet
  if (need.requests > 0 || need.tokens > 0) {
    answer.shed = Displace(tenant, tokens, need);
    if (!answer.shed) {
      ForgetIfEmpty(tenant);
      answer.verdict = need.requests > 0 ? Verdict::kTooManyRequests : Verdict::kTooManyTokens;
      return answer;
    }
    for (Held* held : {&held_[answer.shed->tenant], &all_}) {
      held->shedding_requests += answer.shed->requests;
      held->shedding_tokens += answer.shed->tokens;
    }
  }
  for (Held* held : {&own, &all_}) {
    ++held->requests;
    held->tokens += tokens;
  }
  return answer;
}

bool QueueShares::IsFullFor(const std::string& tenant) const {
  Shed need;
  need.requests = all_.staying_requests() + 1 - limits_.requests;
  return need.requests > 0 && !Displace(tenant, /*tokens=*/0, need);
}

// Nobody is displaced for one who would then hold more of the room.
std::optional<QueueShares::Shed> QueueShares::Displace(const std::string& tenant, int64_t tokens,
                                                       const Shed& need) const {
  const bool by_tokens = need.tokens > 0;
  // What would be held once `change` has come or gone, for the tenant's weight.
  const auto occupied = [&](const std::string& name, const Held& held, double change) {
    const double amount = by_tokens ? static_cast<double>(held.staying_tokens())
                                    : static_cast<double>(held.staying_requests());
    return (amount + change) / weights_.Of(name);
  };
  const double leaving = by_tokens ? static_cast<double>(need.tokens) : need.requests;
  const std::pair<const std::string, Held>* most = nullptr;
  for (const auto& entry : held_) {
    if (entry.first == tenant || entry.second.staying_requests() < need.requests) continue;
    if (most == nullptr || occupied(entry.first, entry.second, -leaving) >
                               occupied(most->first, most->second, -leaving)) {
      most = &entry;
    }
  }
  if (most == nullptr) return std::nullopt;
  const auto own = held_.find(tenant);
  const double coming = by_tokens ? static_cast<double>(tokens) : 1.0;
  if (occupied(tenant, own == held_.end() ? Held() : own->second, coming) >
      occupied(most->first, most->second, -leaving)) {
    return std::nullopt;
  }
  return Shed{most->first, need.requests, need.tokens};
}

void QueueShares::Remove(const std::string& tenant, int64_t tokens) {
  for (Held* held : {&held_[tenant], &all_}) {
    --held->requests;
    held->tokens -= tokens;
  }
  ForgetIfEmpty(tenant);
}

void QueueShares::OnShed(const Shed& shed) {
  for (Held* held : {&held_[shed.tenant], &all_}) {
    held->shedding_requests -= shed.requests;
    held->shedding_tokens -= shed.tokens;
  }
  ForgetIfEmpty(shed.tenant);
}

void QueueShares::ForgetIfEmpty(const std::string& tenant) {
  const auto found = held_.find(tenant);
  const Held& held = found->second;
  if (held.requests == 0 && held.shedding_requests == 0 && held.shedding_tokens == 0) {
    held_.erase(found);
  }
}

}  // namespace spade
