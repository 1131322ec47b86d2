#include "engine/schedule/wait_forecast.h"

#include <algorithm>

namespace spade {
namespace {

// In less time than this, the first few requests say nothing of the rate.
constexpr double kLeastBusySeconds = 1;

}  // namespace

void WaitForecast::Add(const std::string& tenant, int32_t priority, int64_t tokens, double now) {
  Amount& own = waiting_[tenant][priority];  // first, for it alone can fail
  for (Amount* amount : {&own, &all_}) {
    ++amount->requests;
    amount->tokens += tokens;
  }
  if (all_.requests == 1) since_ = now;
}

void WaitForecast::Remove(const std::string& tenant, int32_t priority, int64_t tokens,
                          bool scheduled, double now) {
  if (scheduled) {
    requests_.Add(BusyTime(now), 1);
    tokens_.Add(BusyTime(now), static_cast<double>(tokens));
  }
  const auto own = waiting_.find(tenant);
  const auto level = own->second.find(priority);
  for (Amount* amount : {&level->second, &all_}) {
    --amount->requests;
    amount->tokens -= tokens;
  }
  if (level->second.requests == 0) own->second.erase(level);
  if (own->second.empty()) waiting_.erase(own);
  if (all_.requests == 0) busy_ += now - since_;
}

std::optional<WaitForecast::Rates> WaitForecast::RatesAt(double now) const {
  const double busy = BusyTime(now);
  const Rates rates = {requests_.At(busy), tokens_.At(busy)};
  if (busy < kLeastBusySeconds || rates.requests <= 0 || rates.tokens <= 0) return std::nullopt;
  return rates;
}

// Of what is scheduled, while all that wait now go on waiting.
double WaitForecast::ShareOf(const std::string& tenant) const {
  double all = 0;
  for (const auto& [name, levels] : waiting_) {
    if (!levels.empty()) all += weights_.Of(name);
  }
  return weights_.Of(tenant) / all;
}

std::optional<double> WaitForecast::Wait(const std::string& tenant, int32_t priority,
                                         double now) const {
  const std::optional<Rates> rates = RatesAt(now);
  if (!rates) return std::nullopt;
  const auto own = waiting_.find(tenant);
  if (own == waiting_.end()) return 0;
  Amount before;
  for (const auto& [level, amount] : own->second) {
    if (level > priority) break;
    before.requests += amount.requests;
    before.tokens += amount.tokens;
  }
  return std::min(before.requests / rates->requests,
                  static_cast<double>(before.tokens) / rates->tokens) /
         ShareOf(tenant);
}

std::optional<double> WaitForecast::DrainTime(double now) const {
  const std::optional<Rates> rates = RatesAt(now);
  if (!rates) return std::nullopt;
  return std::max(all_.requests / rates->requests,
                  static_cast<double>(all_.tokens) / rates->tokens);
}

}  // namespace spade
