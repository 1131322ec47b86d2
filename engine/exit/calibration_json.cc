#include "engine/exit/calibration_json.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/finite.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/exit/calibration_format.h"

namespace spade::calibration {
namespace {

constexpr int kMaxNesting = 8;
constexpr int64_t kMaxHidden = 1 << 20;

// Deeper nesting than ours is refused before a document tree is built from it.
absl::StatusOr<Json> ParseDescription(const std::string& text) {
  bool too_deep = false;
  const auto shallow = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxNesting;
    return !too_deep;
  };
  Json description = Json::parse(text, shallow, /*allow_exceptions=*/false);
  if (too_deep || description.is_discarded() || !description.is_object()) {
    return Malformed("its metadata is not a JSON object");
  }
  return description;
}

}  // namespace

absl::Status Malformed(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("not a calibration of spade-calibrate: ", what));
}

absl::StatusOr<const Json*> Member(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end()) return Malformed(absl::StrCat("'", key, "' is missing"));
  return &*found;
}

absl::StatusOr<std::string> Text(const Json& object, const char* key) {
  SPADE_ASSIGN_OR_RETURN(const Json* value, Member(object, key));
  if (!value->is_string()) return Malformed(absl::StrCat("'", key, "' must be text"));
  return value->get<std::string>();
}

absl::StatusOr<double> Number(const Json& value, const char* key, double low, double high) {
  if (!value.is_number()) return Malformed(absl::StrCat("'", key, "' must be a number"));
  const double number = value.get<double>();
  if (!(number >= low && number <= high)) {
    return Malformed(absl::StrCat("'", key, "' is out of range: ", number));
  }
  return number;
}

absl::StatusOr<int64_t> Integer(const Json& value, const char* key, int64_t low, int64_t high) {
  if (!value.is_number_integer()) {
    return Malformed(absl::StrCat("'", key, "' must be a whole number"));
  }
  const bool huge =
      value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const int64_t number = huge ? std::numeric_limits<int64_t>::max() : value.get<int64_t>();
  if (number < low || number > high) {
    return Malformed(absl::StrCat("'", key, "' is out of range: ", number));
  }
  return number;
}

// The list `key`, of any length when `size` is negative.
absl::StatusOr<const Json*> List(const Json& object, const char* key, int64_t size) {
  SPADE_ASSIGN_OR_RETURN(const Json* value, Member(object, key));
  if (!value->is_array()) return Malformed(absl::StrCat("'", key, "' must be a list"));
  if (size >= 0 && value->size() != static_cast<size_t>(size)) {
    return Malformed(absl::StrCat("'", key, "' has ", value->size(), " entries, not ", size));
  }
  return value;
}

absl::StatusOr<std::vector<float>> Values(const SafeTensorsFile& file, const std::string& name,
                                          const std::vector<int64_t>& shape) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) return Malformed(absl::StrCat("tensor ", name, " is missing"));
  const SafeTensor& tensor = found->second;
  if (tensor.dtype != "F32" || tensor.shape != shape) {
    return Malformed(absl::StrCat("tensor ", name, " has a wrong dtype or shape"));
  }
  std::vector<float> values(tensor.data.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  if (!AllFinite(values)) {
    return Malformed(absl::StrCat("tensor ", name, " holds values that are not finite"));
  }
  return values;
}

namespace {

constexpr double kLeastMismatch = 1e-9;

// Makes `type` the one of `types` that member `key` names. Without the member the file is older
// than the choice: `type` stays.
template <typename Types, typename Type>
absl::Status ParseType(const Json& description, const char* key, const Types& types, Type& type) {
  if (!description.contains(key)) return absl::OkStatus();
  SPADE_ASSIGN_OR_RETURN(const std::string name, Text(description, key));
  for (const Type known : types) {
    if (name != NameOf(known)) continue;
    type = known;
    return absl::OkStatus();
  }
  return Malformed(absl::StrCat("'", key, "' is '", name, "', which this version does not know"));
}

absl::StatusOr<std::vector<int64_t>> Counts(const Json& object, const char* key, int64_t size) {
  SPADE_ASSIGN_OR_RETURN(const Json* list, List(object, key, size));
  std::vector<int64_t> counts;
  for (const Json& entry : *list) {
    SPADE_ASSIGN_OR_RETURN(const int64_t count, Integer(entry, key, 0, int64_t{1} << 53));
    counts.push_back(count);
  }
  return counts;
}

absl::StatusOr<std::string> Digest(const Json& object, const char* key) {
  SPADE_ASSIGN_OR_RETURN(std::string text, Text(object, key));
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (text.size() != 64 || !std::ranges::all_of(text, is_hex)) {
    return Malformed(absl::StrCat("'", key, "' must be 64 hexadecimal digits"));
  }
  return text;
}

absl::StatusOr<Certificate> ParseCertificate(const Json& entry, int64_t exits) {
  Certificate certificate;
  SPADE_ASSIGN_OR_RETURN(const Json* bound, Member(entry, "max_mismatch"));
  // MismatchMonitor takes neither of 0 and 1.
  SPADE_ASSIGN_OR_RETURN(certificate.max_mismatch,
                         Number(*bound, "max_mismatch", kLeastMismatch, 1 - kLeastMismatch));
  SPADE_ASSIGN_OR_RETURN(const Json* thresholds, List(entry, "thresholds", exits));
  for (const Json& value : *thresholds) {
    SPADE_ASSIGN_OR_RETURN(const double threshold, Number(value, "thresholds", 0, 1e6));
    certificate.thresholds.push_back(static_cast<float>(threshold));
  }
  SPADE_ASSIGN_OR_RETURN(certificate.exited, Counts(entry, "exited", exits));
  SPADE_ASSIGN_OR_RETURN(certificate.mismatched, Counts(entry, "mismatched", exits));
  for (size_t e = 0; e < certificate.exited.size(); ++e) {
    if (certificate.mismatched[e] > certificate.exited[e]) {
      return Malformed("a certificate counts more mismatches than exits");
    }
  }
  SPADE_ASSIGN_OR_RETURN(const Json* prompts, Member(entry, "prompts"));
  SPADE_ASSIGN_OR_RETURN(certificate.prompts, Integer(*prompts, "prompts", 0, int64_t{1} << 53));
  SPADE_ASSIGN_OR_RETURN(const Json* saving, Member(entry, "saving"));
  SPADE_ASSIGN_OR_RETURN(certificate.saving, Number(*saving, "saving", -1, 1));
  return certificate;
}

}  // namespace

absl::StatusOr<std::vector<Certificate>> Certificates(const Json& description, int64_t exits) {
  SPADE_ASSIGN_OR_RETURN(const Json* list, List(description, "certificates", -1));
  std::vector<Certificate> certificates;
  for (const Json& entry : *list) {
    SPADE_ASSIGN_OR_RETURN(Certificate certificate, ParseCertificate(entry, exits));
    if (!certificates.empty() && certificate.max_mismatch <= certificates.back().max_mismatch) {
      return Malformed("'certificates' must ascend in max_mismatch");
    }
    certificates.push_back(std::move(certificate));
  }
  return certificates;
}

absl::StatusOr<Document> OpenDocument(std::span<const std::byte> bytes) {
  Document document;
  SPADE_ASSIGN_OR_RETURN(document.file, ParseSafeTensors(bytes));
  const auto found = document.file.metadata.find(kCalibrationKey);
  if (found == document.file.metadata.end()) {
    return Malformed(absl::StrCat("its metadata has no '", kCalibrationKey, "'"));
  }
  SPADE_ASSIGN_OR_RETURN(document.description, ParseDescription(found->second));
  SPADE_ASSIGN_OR_RETURN(document.format, Text(document.description, "format"));
  return document;
}

absl::Status Identify(const Document& document, std::string_view format,
                      std::span<const std::byte> bytes, CalibrationIdentity& identity) {
  const Json& description = document.description;
  if (document.format != format) {
    return Malformed(absl::StrCat("its format is '", document.format, "', not '",
                                  std::string(format), "': run spade-calibrate again"));
  }
  SPADE_ASSIGN_OR_RETURN(identity.model_sha256, Digest(description, "model_sha256"));
  SPADE_ASSIGN_OR_RETURN(identity.tokenizer_sha256, Digest(description, "tokenizer_sha256"));
  SPADE_ASSIGN_OR_RETURN(identity.weight_dtype, Text(description, "weight_dtype"));
  SPADE_RETURN_IF_ERROR(ParseType(description, "compute", kComputes, identity.compute));
  SPADE_RETURN_IF_ERROR(ParseType(description, "kv_dtype", kKvTypes, identity.kv_dtype));
  SPADE_ASSIGN_OR_RETURN(const Json* hidden, Member(description, "hidden_size"));
  SPADE_ASSIGN_OR_RETURN(const int64_t size, Integer(*hidden, "hidden_size", 1, kMaxHidden));
  identity.hidden_size = static_cast<int32_t>(size);
  identity.id =
      Sha256Hex(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  return absl::OkStatus();
}

}  // namespace spade::calibration
