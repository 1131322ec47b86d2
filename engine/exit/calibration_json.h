#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/safetensors.h"
#include "engine/exit/calibration.h"

// Reading the parts of a calibration file. Errors: INVALID_ARGUMENT, naming the part.
namespace spade::calibration {

using Json = nlohmann::json;

inline constexpr int64_t kMaxLayers = 1 << 16;  // of an exit

absl::Status Malformed(const std::string& what);

absl::StatusOr<const Json*> Member(const Json& object, const char* key);
absl::StatusOr<std::string> Text(const Json& object, const char* key);
absl::StatusOr<double> Number(const Json& value, const char* key, double low, double high);
absl::StatusOr<int64_t> Integer(const Json& value, const char* key, int64_t low, int64_t high);
// The list `key`, of any length when `size` is negative.
absl::StatusOr<const Json*> List(const Json& object, const char* key, int64_t size);
// A finite F32 tensor of exactly this shape.
absl::StatusOr<std::vector<float>> Values(const SafeTensorsFile& file, const std::string& name,
                                          const std::vector<int64_t>& shape);
// Of `exits` exits each, ascending.
absl::StatusOr<std::vector<Certificate>> Certificates(const Json& description, int64_t exits);

// A file whose metadata holds a description.
struct Document {
  SafeTensorsFile file;
  Json description;
  std::string format;
};
absl::StatusOr<Document> OpenDocument(std::span<const std::byte> bytes);

// Reads what a calibration of `format` was made for; its id is the hash of `bytes`.
absl::Status Identify(const Document& document, std::string_view format,
                      std::span<const std::byte> bytes, CalibrationIdentity& identity);

}  // namespace spade::calibration
