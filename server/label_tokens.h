#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/tokenizer/tokenizer.h"

namespace spade {

inline constexpr size_t kMaxLabelBytes = 256;

// The prompt that labels follow, as text and as tokens.
struct LabelledPrompt {
  const std::string* text = nullptr;  // null: the prompt came as token ids
  const std::vector<TokenId>* ids = nullptr;
  bool add_special_tokens = true;
};

// The tokens that each label adds to the prompt. INVALID_ARGUMENT names the label: none there, one
// that changes the prompt's own tokens, or the same tokens as another label's.
absl::StatusOr<std::vector<std::vector<TokenId>>> LabelTokens(
    const Tokenizer& tokenizer, const std::vector<std::string>& labels,
    const LabelledPrompt& prompt);

}  // namespace spade
