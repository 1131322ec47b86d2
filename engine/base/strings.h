#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"

namespace spade {

// Debian's Abseil has a string_view of its own, so absl::StrCat takes no std::string_view, and no
// Abseil container finds one in std::string keys. These do.
namespace internal {
inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline absl::AlphaNum ToAlphaNum(std::string_view text) { return ToAbsl(text); }
inline absl::AlphaNum ToAlphaNum(const std::string& text) { return text; }
inline absl::AlphaNum ToAlphaNum(const char* text) { return text; }
template <typename T>
const T& ToAlphaNum(const T& value) {
  return value;
}
}  // namespace internal

template <typename... Args>
std::string StrCat(const Args&... args) {
  return absl::StrCat(internal::ToAlphaNum(args)...);
}

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const {
    return absl::Hash<absl::string_view>()(internal::ToAbsl(text));
  }
};
template <typename Value>
using StringMap = absl::flat_hash_map<std::string, Value, StringHash, std::equal_to<>>;
using StringSet = absl::flat_hash_set<std::string, StringHash, std::equal_to<>>;

// `from` must not be empty.
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);

}  // namespace spade
