#include "engine/model/head_rows.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace spade {

absl::StatusOr<HeadRows> ReadHeadRows(const ModelConfig& config, const Checkpoint& checkpoint,
                                      std::span<const TokenId> ids) {
  const char* name = config.tied_head ? "model.embed_tokens.weight" : "lm_head.weight";
  SPADE_ASSIGN_OR_RETURN(const HostMatrix head,
                         checkpoint.Find(name, config.vocab_size, config.hidden_size));
  SPADE_ASSIGN_OR_RETURN(const HostMatrix norm,
                         checkpoint.Find("model.norm.weight", 1, config.hidden_size));
  HeadRows read;
  read.rows.reserve(ids.size() * static_cast<size_t>(config.hidden_size));
  for (const TokenId id : ids) {
    if (id < 0 || id >= config.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("token id ", id, " is outside the vocabulary of ", config.vocab_size));
    }
    for (int64_t i = 0; i < config.hidden_size; ++i) {
      read.rows.push_back(ElementAt(head, int64_t{id} * config.hidden_size + i));
    }
  }
  for (int64_t i = 0; i < config.hidden_size; ++i) read.norm.push_back(ElementAt(norm, i));
  return read;
}

}  // namespace spade
