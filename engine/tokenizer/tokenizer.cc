#include "engine/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"
#include "engine/tokenizer/tokenizer_impl.h"

namespace spade {

// `truncation` and `padding` of the file are left out: they are set per call by its users.
absl::StatusOr<std::unique_ptr<Tokenizer::Impl>> Tokenizer::Impl::FromJson(const Json& json,
                                                                           std::string sha256) {
  SPADE_ASSIGN_OR_RETURN(const std::string version, StringField(json, "version", "file", "1.0"));
  if (version != "1.0") return NotSupported("version", version);
  auto impl = std::unique_ptr<Impl>(new Impl);
  impl->sha256_ = std::move(sha256);
  if (const Json* normalizer = FindField(json, "normalizer")) {
    SPADE_ASSIGN_OR_RETURN(impl->normalizer_, MakeNormalizer(*normalizer));
  }
  if (const Json* pre_tokenizer = FindField(json, "pre_tokenizer")) {
    SPADE_ASSIGN_OR_RETURN(impl->pre_tokenizer_, MakePreTokenizer(*pre_tokenizer));
  }
  const Json* model = FindField(json, "model");
  if (model == nullptr) return BadField("model", "is missing");
  SPADE_ASSIGN_OR_RETURN(impl->model_, BpeModel::FromJson(*model));
  SPADE_ASSIGN_OR_RETURN(impl->added_tokens_,
                         AddedTokens::FromJson(FindField(json, "added_tokens"), *impl->model_,
                                               impl->normalizer_.get()));
  if (const Json* post_processor = FindField(json, "post_processor")) {
    SPADE_ASSIGN_OR_RETURN(impl->post_processor_, PostProcessor::FromJson(*post_processor));
  }
  SPADE_ASSIGN_OR_RETURN(impl->decoder_, Decoder::FromJson(FindField(json, "decoder")));
  return impl;
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Impl::Encode(std::string_view text,
                                                             bool add_special_tokens) const {
  if (const std::optional<size_t> invalid = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(StrCat("text is not UTF-8 at byte ", *invalid));
  }
  MatchScratch scratch(text.size());
  SPADE_ASSIGN_OR_RETURN(PreTokenized pieces,
                         added_tokens_.Extract(text, normalizer_.get(), scratch));
  if (pre_tokenizer_ != nullptr) {
    SPADE_RETURN_IF_ERROR(pre_tokenizer_->Apply(pieces, scratch));
  }
  std::vector<TokenId> ids;
  ids.reserve(pieces.pieces().size() + pieces.pieces().size() / 4);
  for (const spade::Piece& piece : pieces.pieces()) {
    if (piece.token_id != kNoTokenId) {
      ids.push_back(piece.token_id);
    } else {
      SPADE_RETURN_IF_ERROR(model_->Tokenize(pieces.TextOf(piece), ids));
    }
  }
  return add_special_tokens ? post_processor_.Apply(std::move(ids)) : std::move(ids);
}

std::optional<std::string_view> Tokenizer::Impl::Piece(TokenId id) const {
  const std::optional<std::string_view> added = added_tokens_.Piece(id);
  return added.has_value() ? added : model_->Piece(id);
}

std::optional<std::string_view> Tokenizer::Impl::PieceToDecode(TokenId id,
                                                               bool skip_special_tokens) const {
  const std::optional<std::string_view> piece = Piece(id);
  if (piece.has_value() && skip_special_tokens && added_tokens_.IsSpecial(*piece)) {
    return std::nullopt;
  }
  return piece;
}

std::optional<TokenId> Tokenizer::Impl::IdOf(std::string_view piece) const {
  const std::optional<int32_t> added = added_tokens_.IdOf(piece);
  return added.has_value() ? added : model_->IdOf(piece);
}

bool Tokenizer::Impl::IsSpecial(TokenId id) const {
  const std::optional<std::string_view> piece = Piece(id);
  return piece.has_value() && added_tokens_.IsSpecial(*piece);
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view json) {
  SPADE_ASSIGN_OR_RETURN(const Json parsed, ParseJson(json));
  SPADE_ASSIGN_OR_RETURN(std::unique_ptr<Impl> impl, Impl::FromJson(parsed, Sha256Hex(json)));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text,
                                                       bool add_special_tokens) const {
  return impl_->Encode(text, add_special_tokens);
}

std::string Tokenizer::Decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const {
  Decoder::State state = impl_->decoder().Start();
  std::string text;
  for (const TokenId id : ids) {
    const std::optional<std::string_view> piece = impl_->PieceToDecode(id, skip_special_tokens);
    if (piece.has_value()) text += impl_->decoder().Push(*piece, state);
  }
  text += impl_->decoder().Flush(state);
  return text;
}

std::optional<std::string> Tokenizer::Piece(TokenId id) const {
  const std::optional<std::string_view> piece = impl_->Piece(id);
  if (!piece.has_value()) return std::nullopt;
  return std::string(*piece);
}

std::optional<TokenId> Tokenizer::IdOf(std::string_view piece) const { return impl_->IdOf(piece); }

bool Tokenizer::IsSpecial(TokenId id) const { return impl_->IsSpecial(id); }

int32_t Tokenizer::vocab_size() const { return impl_->vocab_size(); }

const std::string& Tokenizer::sha256() const { return impl_->sha256(); }

}  // namespace spade
