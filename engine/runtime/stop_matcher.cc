#include "engine/runtime/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace spade {

StopMatcher::Output StopMatcher::Push(std::string text, bool armed) {
  Output output;
  if (stops_->empty()) {
    output.text = std::move(text);
    return output;
  }
  const size_t seen = held_.size();
  held_ += text;
  if (armed) {
    if (const auto match = FirstMatch(seen)) {
      output.text = held_.substr(0, include_ ? match->end : match->begin);
      output.match = match->index;
      held_.clear();
      return output;
    }
  }
  const size_t safe = held_.size() - HeldSuffix();
  output.text = held_.substr(0, safe);
  held_.erase(0, safe);
  return output;
}

// The match in held_ that ends first, after its first `seen` bytes.
std::optional<StopMatcher::Match> StopMatcher::FirstMatch(size_t seen) const {
  std::optional<Match> best;
  for (size_t i = 0; i < stops_->size(); ++i) {
    const std::string& stop = (*stops_)[i];
    const size_t from = seen >= stop.size() ? seen - stop.size() + 1 : 0;
    const size_t begin = held_.find(stop, from);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (!best || end < best->end || (end == best->end && begin < best->begin)) {
      best = Match{begin, end, static_cast<int>(i)};
    }
  }
  return best;
}

// Length of the longest end of held_ that begins a stop string.
size_t StopMatcher::HeldSuffix() const {
  const std::string_view held = held_;
  size_t longest = 0;
  for (const std::string& stop : *stops_) {
    for (size_t length = std::min(stop.size() - 1, held.size()); length > longest; --length) {
      if (std::string_view(stop).starts_with(held.substr(held.size() - length))) longest = length;
    }
  }
  return longest;
}

}  // namespace spade
