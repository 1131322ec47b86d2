#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tokenizer/json_fields.h"
#include "engine/tokenizer/pre_tokenized.h"

namespace spade {

// A step that cuts text into the pieces within which the model may merge. Immutable and
// thread-safe.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Fails only where a limit is exceeded.
  virtual absl::Status Apply(PreTokenized& text, MatchScratch& scratch) const = 0;
};

// `json`: the `pre_tokenizer` of a tokenizer.json. UNIMPLEMENTED for unknown types.
absl::StatusOr<std::unique_ptr<PreTokenizer>> MakePreTokenizer(const Json& json);

}  // namespace spade
