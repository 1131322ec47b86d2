#include "engine/runtime/exit_guards.h"

#include <cmath>

namespace spade {
namespace {

constexpr double kFalseAlarms = 0.05;
constexpr int32_t kBreachesToClose = 3;

MismatchMonitor MonitorFor(const Certificate& certificate, int32_t breaches) {
  return MismatchMonitor(certificate.max_mismatch, 1 - kFalseAlarms * std::pow(0.5, breaches + 1));
}

}  // namespace

ExitGuards::State ExitGuards::Observe(const Certificate* certificate, size_t exit, bool mismatch) {
  const auto [place, added] =
      exits_.try_emplace({certificate, exit}, Watched{MonitorFor(*certificate, 0)});
  Watched& watched = place->second;
  watched.monitor.Observe(mismatch);
  State state;
  if (watched.monitor.Breached() && watched.breaches < kBreachesToClose) {
    ++watched.breaches;
    watched.monitor = MonitorFor(*certificate, watched.breaches);
    state.action = watched.breaches == kBreachesToClose ? Action::kClosed : Action::kTightened;
  }
  state.lower = watched.monitor.lower();
  state.upper = watched.monitor.upper();
  state.closed = watched.breaches == kBreachesToClose;
  return state;
}

float ExitGuards::Openness(const Certificate* certificate, size_t exit) const {
  const auto found = exits_.find({certificate, exit});
  if (found == exits_.end()) return 1;
  const int32_t breaches = found->second.breaches;
  return breaches == kBreachesToClose ? 0.0f : std::ldexp(1.0f, -breaches);
}

}  // namespace spade
