#pragma once

#include "absl/status/statusor.h"
#include "engine/tokenizer/json_fields.h"

namespace spade {

// The fields that the Metaspace pre-tokenizer and the Metaspace decoder share.
struct Metaspace {
  enum class Scheme { kAlways, kFirst, kNever };
  char32_t replacement;  // stands for a space
  Scheme scheme;         // where a replacement is put before the text
  bool split;            // cut before each replacement
};

// Takes the legacy `add_prefix_space` too, where it agrees with `prepend_scheme`.
absl::StatusOr<Metaspace> ParseMetaspace(const Json& json);

}  // namespace spade
