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
    for (const auto* tokens : {&delta.tokens, &delta.prompt_logprobs}) {
      for (const SampledToken& token : *tokens) bytes_ += kPerToken * (1 + token.top.size());
    }
  }
  // A message of so many bytes was taken; `rest`: whether others wait.
  void Take(size_t bytes, bool rest) { bytes_ = rest ? bytes_ - std::min(bytes, bytes_) : 0; }
  size_t count() const { return bytes_; }

 private:
  static constexpr size_t kPerToken = 12;  // id, log-probability, field tags

  size_t bytes_ = 0;
};

}  // namespace spade
