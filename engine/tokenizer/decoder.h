#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/tokenizer/decode_stage.h"
#include "engine/tokenizer/json_fields.h"

namespace spade {

// The `decoder` of a tokenizer.json: turns pieces into text, one after the other. Immutable and
// thread-safe; each sequence has a State of its own.
class Decoder {
 public:
  using State = std::vector<DecodeState>;

  // `json`: the decoder, or nullptr where the file has none (pieces are joined by spaces).
  static absl::StatusOr<Decoder> FromJson(const Json* json);

  State Start() const { return State(stages_.size()); }
  // The text that `piece` settles. Whole characters of valid UTF-8.
  std::string Push(std::string_view piece, State& state) const;
  // The text that is left when the sequence has ended.
  std::string Flush(State& state) const;
  // Forgets the text of the pieces pushed so far, but not how they join to what follows.
  void DropHeld(State& state) const;

 private:
  absl::Status Add(const Json& json, bool& is_fused);
  void Run(size_t stage, std::string_view piece, State& state, std::string& text) const;

  std::vector<std::unique_ptr<const DecodeStage>> stages_;
};

}  // namespace spade
