#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/bpe_model.h"
#include "engine/tokenizer/decoder.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/post_processor.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/tokenizer.h"

namespace spade {

// The parts of a tokenizer.json, in the order in which text runs through them.
class Tokenizer::Impl {
 public:
  static absl::StatusOr<std::unique_ptr<Impl>> FromJson(const Json& json, std::string sha256);

  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text, bool add_special_tokens) const;
  // What the decoder gets to see of `id`: nothing outside the vocabulary, and nothing of a special
  // token where those are skipped.
  std::optional<std::string_view> PieceToDecode(TokenId id, bool skip_special_tokens) const;

  std::optional<std::string_view> Piece(TokenId id) const;
  std::optional<TokenId> IdOf(std::string_view piece) const;
  bool IsSpecial(TokenId id) const;
  int32_t vocab_size() const { return std::max(model_->id_bound(), added_tokens_.id_bound()); }
  const Decoder& decoder() const { return *decoder_; }
  const std::string& sha256() const { return sha256_; }

 private:
  Impl() = default;

  std::string sha256_;
  std::unique_ptr<Normalizer> normalizer_;       // nullptr for none
  std::unique_ptr<PreTokenizer> pre_tokenizer_;  // nullptr for none
  std::unique_ptr<BpeModel> model_;
  AddedTokens added_tokens_;
  PostProcessor post_processor_;
  std::optional<Decoder> decoder_;
};

}  // namespace spade
