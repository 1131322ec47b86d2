#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace spade {

using Json = nlohmann::json;

// Parses without exceptions. INVALID_ARGUMENT for malformed text, for nesting deeper than
// kMaxJsonDepth (a document tree costs memory per level) and for texts over kMaxJsonBytes.
inline constexpr int kMaxJsonDepth = 64;
inline constexpr size_t kMaxJsonBytes = size_t{256} << 20;
absl::StatusOr<Json> ParseJson(std::string_view text);

// INVALID_ARGUMENT: "tokenizer.json: <where>: <what>".
absl::Status BadField(std::string_view where, std::string_view what);
// UNIMPLEMENTED: the same.
absl::Status NotSupported(std::string_view where, std::string_view what);

// The member `key` of `object`, or nullptr where there is none, it is null, or `object` is no
// object.
const Json* FindField(const Json& object, std::string_view key);

// Typed members. `where` names `object` in errors. With a `fallback` the member may be missing or
// null; a member of another type is always an error.
absl::StatusOr<std::string> StringField(const Json& object, std::string_view key,
                                        std::string_view where,
                                        std::optional<std::string> fallback = std::nullopt);
absl::StatusOr<bool> BoolField(const Json& object, std::string_view key, std::string_view where,
                               std::optional<bool> fallback = std::nullopt);
absl::StatusOr<int64_t> IntField(const Json& object, std::string_view key, std::string_view where);
// A string of exactly one character.
absl::StatusOr<char32_t> CharField(const Json& object, std::string_view key,
                                   std::string_view where);
absl::StatusOr<const Json*> ArrayField(const Json& object, std::string_view key,
                                       std::string_view where);

}  // namespace spade
