#include "engine/tokenizer/json_fields.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"

namespace spade {
namespace {

absl::Status CheckDepth(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonDepth) {
        return absl::InvalidArgumentError(
            StrCat("tokenizer.json: nested deeper than ", kMaxJsonDepth, " at byte ", i));
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return absl::OkStatus();
}

absl::Status WrongType(std::string_view where, std::string_view key, std::string_view expected) {
  return BadField(where, StrCat("'", key, "' must be ", expected));
}

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text) {
  if (text.size() > kMaxJsonBytes) {
    return absl::InvalidArgumentError(
        StrCat("tokenizer.json: ", text.size(), " bytes, the limit is ", kMaxJsonBytes));
  }
  SPADE_RETURN_IF_ERROR(CheckDepth(text));
  Json json = Json::parse(text.begin(), text.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("tokenizer.json: not valid JSON");
  if (!json.is_object()) return absl::InvalidArgumentError("tokenizer.json: not a JSON object");
  return json;
}

absl::Status BadField(std::string_view where, std::string_view what) {
  return absl::InvalidArgumentError(StrCat("tokenizer.json: ", where, ": ", what));
}

absl::Status NotSupported(std::string_view where, std::string_view what) {
  return absl::UnimplementedError(StrCat("tokenizer.json: ", where, ": ", what));
}

const Json* FindField(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::StatusOr<std::string> StringField(const Json& object, std::string_view key,
                                        std::string_view where,
                                        std::optional<std::string> fallback) {
  const Json* field = FindField(object, key);
  if (field == nullptr && fallback.has_value()) return *std::move(fallback);
  if (field == nullptr || !field->is_string()) return WrongType(where, key, "a string");
  return field->get_ref<const std::string&>();
}

absl::StatusOr<bool> BoolField(const Json& object, std::string_view key, std::string_view where,
                               std::optional<bool> fallback) {
  const Json* field = FindField(object, key);
  if (field == nullptr && fallback.has_value()) return *fallback;
  if (field == nullptr || !field->is_boolean()) return WrongType(where, key, "true or false");
  return field->get<bool>();
}

absl::StatusOr<int64_t> IntField(const Json& object, std::string_view key, std::string_view where) {
  const Json* field = FindField(object, key);
  if (field == nullptr || !field->is_number_integer()) return WrongType(where, key, "an integer");
  return field->get<int64_t>();
}

absl::StatusOr<char32_t> CharField(const Json& object, std::string_view key,
                                   std::string_view where) {
  SPADE_ASSIGN_OR_RETURN(const std::string text, StringField(object, key, where));
  if (text.empty() || FirstChar(text).length != text.size()) {
    return WrongType(where, key, "one character");
  }
  return FirstChar(text).code_point;
}

absl::StatusOr<const Json*> ArrayField(const Json& object, std::string_view key,
                                       std::string_view where) {
  const Json* field = FindField(object, key);
  if (field == nullptr || !field->is_array()) return WrongType(where, key, "an array");
  return field;
}

}  // namespace spade
