#include "engine/tokenizer/detokenizer.h"

#include <optional>
#include <string_view>

#include "engine/tokenizer/tokenizer_impl.h"

namespace spade {

Detokenizer::Detokenizer(const Tokenizer* tokenizer, const std::vector<TokenId>& context,
                         bool skip_special_tokens)
    : tokenizer_(tokenizer),
      skip_special_tokens_(skip_special_tokens),
      state_(tokenizer->impl_->decoder().Start()) {
  for (const TokenId id : context) Append(id);
  tokenizer_->impl_->decoder().DropHeld(state_);
}

std::string Detokenizer::Append(TokenId id) {
  const std::optional<std::string_view> piece =
      tokenizer_->impl_->PieceToDecode(id, skip_special_tokens_);
  return piece.has_value() ? tokenizer_->impl_->decoder().Push(*piece, state_) : "";
}

std::string Detokenizer::Flush() { return tokenizer_->impl_->decoder().Flush(state_); }

}  // namespace spade
