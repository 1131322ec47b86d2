#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/tokenizer/detokenizer.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/check.h"

// Input: tokenizer.json, then, after a NUL byte, a text. What encodes must decode, and the
// incremental detokenizer must agree with the whole decode.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t split = input.find('\0');
  const auto tokenizer = spade::Tokenizer::Parse(input.substr(0, split));
  if (!tokenizer.ok() || split == std::string_view::npos) return 0;
  const auto ids = (*tokenizer)->Encode(input.substr(split + 1), true);
  if (!ids.ok()) return 0;
  for (const spade::TokenId id : *ids) SPADE_CHECK(id >= 0 && id < (*tokenizer)->vocab_size());
  spade::Detokenizer detokenizer(tokenizer->get(), {}, /*skip_special_tokens=*/false);
  std::string text;
  for (const spade::TokenId id : *ids) text += detokenizer.Append(id);
  text += detokenizer.Flush();
  SPADE_CHECK(text == (*tokenizer)->Decode(*ids, /*skip_special_tokens=*/false));
  return 0;
}
