#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "engine/tokenizer/metaspace.h"

namespace spade {

// What one stage remembers between the pieces of one sequence.
struct DecodeState {
  std::string held;        // input that later input can still change
  size_t count = 0;        // the stage says of what
  bool has_begun = false;  // the stage says what
};

// One step of a decoder, fed piece by piece. Whether pieces arrive one by one or all at once makes
// no difference, so streaming and whole decoding agree by construction. Immutable and thread-safe;
// the state is the caller's.
class DecodeStage {
 public:
  using Sink = absl::FunctionRef<void(std::string_view)>;

  virtual ~DecodeStage() = default;
  // Passes on what `piece` (valid UTF-8) settles; what it passes is valid UTF-8.
  virtual void Push(std::string_view piece, DecodeState& state, Sink sink) const = 0;
  // Passes on what is held back: the sequence has ended.
  virtual void Flush(DecodeState& /*state*/, Sink /*sink*/) const {}
  // Drops the held text that belongs to the pieces pushed so far, but not an unfinished character.
  virtual void DropHeld(DecodeState& /*state*/) const {}
};

std::unique_ptr<DecodeStage> MakeJoinStage(std::string separator);
std::unique_ptr<DecodeStage> MakeByteLevelStage();
std::unique_ptr<DecodeStage> MakeByteFallbackStage();
// `is_fused`: the pieces are parts of one long piece.
std::unique_ptr<DecodeStage> MakeMetaspaceStage(Metaspace metaspace, bool is_fused);
std::unique_ptr<DecodeStage> MakeReplaceStage(std::string from, std::string to, bool is_fused);
// Strips up to `start` leading and `stop` trailing characters that equal `content`.
struct StripLimits {
  size_t start;
  size_t stop;
};
std::unique_ptr<DecodeStage> MakeStripStage(char32_t content, StripLimits limits, bool is_fused);
// The suffix that ends a word becomes a space, and nothing at the end of the sequence.
std::unique_ptr<DecodeStage> MakeWordSuffixStage(std::string suffix);

}  // namespace spade
