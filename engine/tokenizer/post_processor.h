#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/json_fields.h"

namespace spade {

// Puts the special tokens around the ids of one text. Immutable and thread-safe.
class PostProcessor {
 public:
  // Adds nothing.
  PostProcessor() = default;
  // `json`: the `post_processor` of a tokenizer.json.
  static absl::StatusOr<PostProcessor> FromJson(const Json& json);

  std::vector<int32_t> Apply(std::vector<int32_t> ids) const;

 private:
  struct Part {
    bool is_text;              // the text's own ids
    std::vector<int32_t> ids;  // else these
  };
  using Template = std::vector<Part>;

  absl::Status Add(const Json& json);
  static absl::StatusOr<Template> ParseTemplate(const Json& json);
  static absl::StatusOr<Template> ParseClsSep(const Json& json, std::string_view where);

  std::vector<Template> templates_;  // applied one after the other
};

}  // namespace spade
