#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/tokenizer/json_fields.h"
#include "engine/tokenizer/regex.h"

namespace spade {

// A step from text to text before pre-tokenization. Immutable and thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // `text` is valid UTF-8, and so is the result. Fails only where a limit is exceeded.
  virtual absl::StatusOr<std::string> Apply(std::string text, MatchScratch& scratch) const = 0;
};

// `json`: the `normalizer` of a tokenizer.json. UNIMPLEMENTED for unknown types.
absl::StatusOr<std::unique_ptr<Normalizer>> MakeNormalizer(const Json& json);

}  // namespace spade
