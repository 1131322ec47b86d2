#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace spade {

// Typed, range-checked reading of one JSON object's fields. A field that is null counts as absent.
// INVALID_ARGUMENT names the field that is missing, of another type or out of range.
class JsonFields {
 public:
  // `what` names the document in messages ("config.json").
  static absl::StatusOr<JsonFields> Parse(std::string_view text, std::string_view what);

  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  absl::StatusOr<int64_t> Int(std::string_view name, int64_t low, int64_t high) const;
  absl::StatusOr<int64_t> IntOr(std::string_view name, int64_t otherwise, int64_t low,
                                int64_t high) const;
  absl::StatusOr<double> Number(std::string_view name, double low, double high) const;
  absl::StatusOr<double> NumberOr(std::string_view name, double otherwise, double low,
                                  double high) const;
  absl::StatusOr<bool> BoolOr(std::string_view name, bool otherwise) const;
  absl::StatusOr<std::string> TextOr(std::string_view name, std::string_view otherwise) const;
  // One integer or a list of them; empty where absent.
  absl::StatusOr<std::vector<int64_t>> Ints(std::string_view name, int64_t low, int64_t high) const;
  absl::StatusOr<std::vector<std::string>> Texts(std::string_view name) const;
  absl::StatusOr<std::optional<JsonFields>> Object(std::string_view name) const;
  // True where a field holds an object: what this class reads is flat.
  bool HasNestedObjects() const;

 private:
  JsonFields(nlohmann::json object, std::string what)
      : object_(std::move(object)), what_(std::move(what)) {}
  const nlohmann::json* Find(std::string_view name) const;
  absl::Status Wrong(std::string_view name, std::string_view must) const;
  absl::StatusOr<int64_t> IntOf(const nlohmann::json& value, std::string_view name, int64_t low,
                                int64_t high) const;

  nlohmann::json object_;
  std::string what_;
};

}  // namespace spade
