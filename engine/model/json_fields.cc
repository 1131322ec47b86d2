#include "engine/model/json_fields.h"

#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace spade {
namespace {

using Json = nlohmann::json;

}  // namespace

absl::StatusOr<JsonFields> JsonFields::Parse(std::string_view text, std::string_view what) {
  Json json = Json::parse(text.begin(), text.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError(StrCat(what, " is not a valid JSON object"));
  }
  return JsonFields(std::move(json), std::string(what));
}

absl::StatusOr<int64_t> JsonFields::Int(std::string_view name, int64_t low, int64_t high) const {
  const Json* value = Find(name);
  if (value == nullptr) return Wrong(name, "is required");
  return IntOf(*value, name, low, high);
}

absl::StatusOr<int64_t> JsonFields::IntOr(std::string_view name, int64_t otherwise, int64_t low,
                                          int64_t high) const {
  return Has(name) ? Int(name, low, high) : otherwise;
}

absl::StatusOr<double> JsonFields::Number(std::string_view name, double low, double high) const {
  const Json* value = Find(name);
  if (value == nullptr) return Wrong(name, "is required");
  if (!value->is_number()) return Wrong(name, "must be a number");
  const double number = value->get<double>();
  if (!(number >= low && number <= high)) {
    return Wrong(name, StrCat("is ", number, ", not in [", low, ", ", high, "]"));
  }
  return number;
}

absl::StatusOr<double> JsonFields::NumberOr(std::string_view name, double otherwise, double low,
                                            double high) const {
  return Has(name) ? Number(name, low, high) : otherwise;
}

absl::StatusOr<bool> JsonFields::BoolOr(std::string_view name, bool otherwise) const {
  const Json* value = Find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) return Wrong(name, "must be true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonFields::TextOr(std::string_view name,
                                               std::string_view otherwise) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::string(otherwise);
  if (!value->is_string()) return Wrong(name, "must be text");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<int64_t>> JsonFields::Ints(std::string_view name, int64_t low,
                                                      int64_t high) const {
  std::vector<int64_t> numbers;
  const Json* value = Find(name);
  if (value == nullptr) return numbers;
  if (!value->is_array()) {
    SPADE_ASSIGN_OR_RETURN(const int64_t number, IntOf(*value, name, low, high));
    return std::vector<int64_t>{number};
  }
  for (const Json& item : *value) {
    SPADE_ASSIGN_OR_RETURN(const int64_t number, IntOf(item, name, low, high));
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<std::vector<std::string>> JsonFields::Texts(std::string_view name) const {
  std::vector<std::string> texts;
  const Json* value = Find(name);
  if (value == nullptr) return texts;
  if (!value->is_array()) return Wrong(name, "must be a list");
  for (const Json& item : *value) {
    if (!item.is_string()) return Wrong(name, "must be a list of text");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

absl::StatusOr<std::optional<JsonFields>> JsonFields::Object(std::string_view name) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::optional<JsonFields>();
  if (!value->is_object()) return Wrong(name, "must be an object");
  return std::optional<JsonFields>(JsonFields(*value, StrCat(what_, ": ", name)));
}

bool JsonFields::HasNestedObjects() const {
  for (const Json& value : object_) {
    if (value.is_object()) return true;
  }
  return false;
}

const Json* JsonFields::Find(std::string_view name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

absl::Status JsonFields::Wrong(std::string_view name, std::string_view must) const {
  return absl::InvalidArgumentError(StrCat(what_, ": ", name, " ", must));
}

absl::StatusOr<int64_t> JsonFields::IntOf(const Json& value, std::string_view name, int64_t low,
                                          int64_t high) const {
  if (!value.is_number_integer()) return Wrong(name, "must be an integer");
  // Unsigned values beyond int64 would wrap to negative ones.
  const int64_t number =
      value.is_number_unsigned() &&
              value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
          ? std::numeric_limits<int64_t>::max()
          : value.get<int64_t>();
  if (number < low || number > high) {
    return Wrong(name, StrCat("is ", number, ", not in [", low, ", ", high, "]"));
  }
  return number;
}

}  // namespace spade
