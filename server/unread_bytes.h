#pragma once

#include <algorithm>
#include <cstddef>

#include "engine/runtime/request.h"

namespace spade {

// About how many bytes of a stream's output wait to be sent. Not thread-safe.
class UnreadBytes {
 public:
  void Add(const GenerateDelta& delta) {
    bytes_ += delta.text.size();
    for (const SampledToken& token : delta.tokens) Add(token);
    for (const SampledToken& token : delta.prompt_logprobs) Add(token);
  }
  // A message of so many bytes was taken; `rest`: whether others wait.
  void Take(size_t bytes, bool rest) { bytes_ = rest ? bytes_ - std::min(bytes, bytes_) : 0; }
  size_t count() const { return bytes_; }

 private:
  static constexpr size_t kPerToken = 12;  // id, log-probability, field tags

  void Add(const SampledToken& token) { bytes_ += kPerToken * (1 + token.top.size()); }

  size_t bytes_ = 0;
};

}  // namespace spade
