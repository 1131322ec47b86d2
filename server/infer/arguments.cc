#include "server/infer/arguments.h"

#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/utf8.h"
#include "server/field_check.h"

namespace spade {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxJsonBytes = 256u << 10;
constexpr int kMaxJsonDepth = 4;  // parameters hold lists and flat objects

// Discarded: not JSON, or nested deeper than parameters are (copying a value recurses).
Json ParseParameters(const std::string& text) {
  bool too_deep = false;
  const auto check = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return !too_deep;
  };
  Json parsed = Json::parse(text, check, /*allow_exceptions=*/false);
  return too_deep ? Json(Json::value_t::discarded) : parsed;
}

std::optional<std::string> ToText(const Json& value) {
  const auto* text = value.get_ptr<const std::string*>();
  if (text == nullptr || FindInvalidUtf8(*text).has_value()) return std::nullopt;
  return *text;
}

std::optional<bool> ToBool(const Json& value) {
  if (const auto* boolean = value.get_ptr<const bool*>()) return *boolean;
  bool parsed = false;
  const auto* text = value.get_ptr<const std::string*>();
  if (text != nullptr && absl::SimpleAtob(*text, &parsed)) return parsed;
  return std::nullopt;
}

template <typename Integer>
std::optional<Integer> ToInteger(const Json& value) {
  constexpr auto kMin = std::numeric_limits<Integer>::min();
  constexpr auto kMax = std::numeric_limits<Integer>::max();
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(kMax)) return std::nullopt;
    return static_cast<Integer>(number);
  }
  if (value.is_number_integer()) {
    const auto number = value.get<int64_t>();
    if (number < static_cast<int64_t>(kMin)) return std::nullopt;
    if (number > 0 && static_cast<uint64_t>(number) > static_cast<uint64_t>(kMax)) {
      return std::nullopt;
    }
    return static_cast<Integer>(number);
  }
  Integer parsed = 0;
  const auto* text = value.get_ptr<const std::string*>();
  if (text != nullptr && absl::SimpleAtoi(*text, &parsed)) return parsed;
  return std::nullopt;
}

std::optional<double> ToReal(const Json& value) {
  if (value.is_number()) return value.get<double>();
  double parsed = 0;
  const auto* text = value.get_ptr<const std::string*>();
  if (text != nullptr && absl::SimpleAtod(*text, &parsed)) return parsed;
  return std::nullopt;
}

}  // namespace

std::optional<Json> Arguments::Take(const char* name) {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  Json value = std::move(*found);
  values_.erase(found);
  if (value.is_null()) return std::nullopt;
  return std::optional<Json>(std::in_place, std::move(value));
}

void Arguments::Fail(const char* name, const std::string& problem) {
  if (status_.ok()) status_ = FieldError(name, problem);
}

template <typename Value, typename Convert>
std::optional<Value> Arguments::One(const char* name, const char* what, Convert convert) {
  const std::optional<Json> value = Take(name);
  if (!value.has_value()) return std::nullopt;
  std::optional<Value> converted = convert(*value);
  if (!converted.has_value()) Fail(name, absl::StrCat("must be ", what));
  return converted;
}

template <typename Value, typename Convert>
std::vector<Value> Arguments::Many(const char* name, const char* what, Convert convert) {
  std::vector<Value> all;
  const std::optional<Json> value = Take(name);
  if (!value.has_value()) return all;
  const Json single = value->is_array() ? Json() : Json::array({*value});
  for (const Json& element : value->is_array() ? *value : single) {
    std::optional<Value> converted = convert(element);
    if (!converted.has_value()) {
      Fail(name, absl::StrCat("must be a list, each ", what));
      return {};
    }
    all.push_back(*std::move(converted));
  }
  return all;
}

std::optional<std::string> Arguments::Text(const char* name) {
  return One<std::string>(name, "UTF-8 text", ToText);
}
std::optional<bool> Arguments::Bool(const char* name) {
  return One<bool>(name, "true or false", ToBool);
}
std::optional<uint32_t> Arguments::Unsigned(const char* name) {
  return One<uint32_t>(name, "a whole number, not negative", ToInteger<uint32_t>);
}
std::optional<uint64_t> Arguments::Unsigned64(const char* name) {
  return One<uint64_t>(name, "a whole number, not negative", ToInteger<uint64_t>);
}
std::optional<int32_t> Arguments::Signed(const char* name) {
  return One<int32_t>(name, "a whole number", ToInteger<int32_t>);
}
std::optional<double> Arguments::Real(const char* name) {
  return One<double>(name, "a number", ToReal);
}
std::vector<std::string> Arguments::Texts(const char* name) {
  return Many<std::string>(name, "UTF-8 text", ToText);
}
std::vector<uint32_t> Arguments::Unsigneds(const char* name) {
  return Many<uint32_t>(name, "a whole number, not negative", ToInteger<uint32_t>);
}
std::vector<double> Arguments::Reals(const char* name) {
  return Many<double>(name, "a number", ToReal);
}

std::vector<std::pair<uint32_t, double>> Arguments::Weights(const char* name) {
  std::vector<std::pair<uint32_t, double>> weights;
  const std::optional<Json> object = Take(name);
  if (!object.has_value()) return weights;
  if (!object->is_object()) {
    Fail(name, "must be an object of token ids and numbers");
    return weights;
  }
  for (const auto& [key, value] : object->items()) {
    const auto id = ToInteger<uint32_t>(key);
    const auto weight = ToReal(value);
    if (id.has_value() && weight.has_value()) {
      weights.emplace_back(*id, *weight);
    } else {
      Fail(name, "must be an object of token ids and numbers");
    }
  }
  return weights;
}

void Arguments::Merge(const char* name) {
  const std::optional<std::string> text = Text(name);
  if (!text.has_value() || text->empty()) return;
  if (text->size() > kMaxJsonBytes) {
    return Fail(name, absl::StrCat("at most ", kMaxJsonBytes, " bytes"));
  }
  const Json members = ParseParameters(*text);
  if (!members.is_object()) return Fail(name, "must be a JSON object");
  values_.update(members);
}

absl::Status Arguments::Finish() const {
  if (!status_.ok()) return status_;
  if (values_.empty()) return absl::OkStatus();
  return FieldError(values_.begin().key(), "this model has no such parameter");
}

}  // namespace spade
