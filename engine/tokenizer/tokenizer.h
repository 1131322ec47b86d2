#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/types.h"

namespace spade {

// Text to token ids and back, as the model's tokenizer.json defines it (Hugging Face `tokenizers`
// semantics; BPE models). Immutable after construction: all methods are thread-safe.
class Tokenizer {
 public:
  // Parses the text of a tokenizer.json. INVALID_ARGUMENT, naming the field, where the file is
  // malformed; UNIMPLEMENTED where it asks for a component that is not supported.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string_view json);

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer();

  // `text` must be UTF-8, else INVALID_ARGUMENT. With `add_special_tokens` the post-processor's
  // template is applied (BOS and the like). Added tokens in the text match either way.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, bool add_special_tokens) const;

  // Bytes of the ids' decoded text; ids outside the vocabulary are skipped. The result of any id
  // sequence is valid UTF-8 (broken bytes become U+FFFD), as the decoder of the file defines it. A
  // run of byte-fallback pieces counts as broken as a whole, but for what it held at 64 bytes.
  std::string Decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const;

  // The raw piece of one id ("Ġhello", "<0x0A>"), or nullopt outside the vocabulary.
  std::optional<std::string> Piece(TokenId id) const;
  std::optional<TokenId> IdOf(std::string_view piece) const;
  bool IsSpecial(TokenId id) const;

  // One past the highest id.
  int32_t vocab_size() const;
  // Hex SHA-256 of the file's text: the identity of the tokenizer in certificates.
  const std::string& sha256() const;

 private:
  friend class Detokenizer;
  class Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace spade
