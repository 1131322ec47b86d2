#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spade {

// Finds stop strings in a text that arrives in pieces. Text that may be the beginning of a stop
// string is held back until more text decides. The stop string whose last byte comes first wins, of
// several that end there the longest: the outcome does not depend on how the text is cut into
// pieces. Not thread-safe: one per sequence.
class StopMatcher {
 public:
  struct Output {
    std::string text;          // safe to show
    std::optional<int> match;  // index of the stop string found: nothing may follow
  };

  // `stops`: not empty strings; they outlive this. `include`: a match stays in the text.
  StopMatcher(const std::vector<std::string>* stops, bool include)
      : stops_(stops), include_(include) {}

  // `armed` false: stop strings that end in `text` are ordinary text (min_tokens), but a stop
  // string may begin there and end in later text.
  Output Push(std::string text, bool armed);
  // What is held back. Call once, at the end, unless a match was found.
  std::string Flush() { return std::move(held_); }

 private:
  struct Match {
    size_t begin;
    size_t end;
    int index;
  };
  std::optional<Match> FirstMatch(size_t seen) const;
  size_t HeldSuffix() const;

  const std::vector<std::string>* stops_;
  bool include_;
  std::string held_;
};

}  // namespace spade
