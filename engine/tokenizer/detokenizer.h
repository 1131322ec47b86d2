#pragma once

#include <string>
#include <vector>

#include "engine/tokenizer/decoder.h"
#include "engine/tokenizer/tokenizer.h"

namespace spade {

// Turns a growing token sequence into text deltas: the concatenation of all deltas and of Flush()
// equals Tokenizer::Decode of the whole sequence after the context, and no delta ends inside a
// UTF-8 character. Time and memory per token do not grow with the sequence. One per sequence; not
// thread-safe.
class Detokenizer {
 public:
  // `context`: the tokens before the first Append, usually the prompt; they decide how the first
  // piece is joined (a leading space, say) and make no text themselves, but for a character that
  // they leave unfinished. `tokenizer` outlives this.
  Detokenizer(const Tokenizer* tokenizer, const std::vector<TokenId>& context,
              bool skip_special_tokens);

  // The text that `id` settles; may be empty while a character is incomplete. With byte-fallback
  // pieces ("<0x0A>") a run of them is held until it ends, at most 64 bytes, since one broken byte
  // in it makes all of it U+FFFD.
  std::string Append(TokenId id);
  // What is still held back, broken bytes as U+FFFD. Call once, at the end.
  std::string Flush();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  Decoder::State state_;
};

}  // namespace spade
