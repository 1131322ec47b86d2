#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/safetensors.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/exit/calibration_format.h"

namespace spade {
namespace {

using Json = nlohmann::json;

constexpr int kMaxNesting = 8;
constexpr int64_t kMaxHidden = 1 << 20;
constexpr int64_t kMaxLayers = 1 << 16;
constexpr size_t kMaxLabels = 1 << 16;

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

absl::Status ParseLabels(const Json& description, Calibration& calibration) {
  SPADE_ASSIGN_OR_RETURN(const Json* texts, List(description, "label_texts", -1));
  const auto count = static_cast<int64_t>(texts->size());
  SPADE_ASSIGN_OR_RETURN(const Json* ids, List(description, "label_ids", count));
  if (count < 2 || texts->size() > kMaxLabels) {
    return Malformed(absl::StrCat("it has ", count, " labels; 2 to ", kMaxLabels, " are allowed"));
  }
  std::set<int64_t> seen;
  for (size_t i = 0; i < texts->size(); ++i) {
    if (!(*texts)[i].is_string()) return Malformed("'label_texts' must hold texts");
    SPADE_ASSIGN_OR_RETURN(const int64_t id,
                           Integer((*ids)[i], "label_ids", 0, std::numeric_limits<TokenId>::max()));
    if (!seen.insert(id).second) return Malformed(absl::StrCat("label id ", id, " comes twice"));
    calibration.label_texts.push_back((*texts)[i].get<std::string>());
    calibration.label_ids.push_back(static_cast<TokenId>(id));
  }
  return absl::OkStatus();
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
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    return Malformed(absl::StrCat("tensor ", name, " holds values that are not finite"));
  }
  return values;
}

absl::Status ParseExits(const Json& description, const SafeTensorsFile& file,
                        Calibration& calibration) {
  SPADE_ASSIGN_OR_RETURN(const Json* exits, List(description, "exits", -1));
  const auto labels = static_cast<int64_t>(calibration.label_ids.size());
  int64_t previous = 0;
  for (const Json& entry : *exits) {
    SPADE_ASSIGN_OR_RETURN(const Json* layer_json, Member(entry, "layer"));
    SPADE_ASSIGN_OR_RETURN(const int64_t layer,
                           Integer(*layer_json, "layer", previous + 1, kMaxLayers));
    SPADE_ASSIGN_OR_RETURN(const Json* temperature_json, Member(entry, "temperature"));
    SPADE_ASSIGN_OR_RETURN(const double temperature,
                           Number(*temperature_json, "temperature", 1e-6, 1e6));
    ExitHead head;
    head.layer = static_cast<int32_t>(layer);
    head.temperature = static_cast<float>(temperature);
    SPADE_ASSIGN_OR_RETURN(head.weight,
                           Values(file, WeightName(head.layer), {labels, calibration.hidden_size}));
    SPADE_ASSIGN_OR_RETURN(head.bias, Values(file, BiasName(head.layer), {labels}));
    calibration.exits.push_back(std::move(head));
    previous = layer;
  }
  if (calibration.exits.empty()) return Malformed("it has no exits");
  if (file.tensors.size() != 2 * calibration.exits.size()) {
    return Malformed("it holds tensors that belong to no exit");
  }
  return absl::OkStatus();
}

absl::StatusOr<Certificate> ParseCertificate(const Json& entry, int64_t exits) {
  Certificate certificate;
  SPADE_ASSIGN_OR_RETURN(const Json* bound, Member(entry, "max_mismatch"));
  SPADE_ASSIGN_OR_RETURN(certificate.max_mismatch, Number(*bound, "max_mismatch", 0, 1));
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

absl::Status ParseCertificates(const Json& description, Calibration& calibration) {
  SPADE_ASSIGN_OR_RETURN(const Json* certificates, List(description, "certificates", -1));
  for (const Json& entry : *certificates) {
    SPADE_ASSIGN_OR_RETURN(Certificate certificate,
                           ParseCertificate(entry, static_cast<int64_t>(calibration.exits.size())));
    if (!calibration.certificates.empty() &&
        certificate.max_mismatch <= calibration.certificates.back().max_mismatch) {
      return Malformed("'certificates' must ascend in max_mismatch");
    }
    calibration.certificates.push_back(std::move(certificate));
  }
  return absl::OkStatus();
}

absl::Status ParseCurve(const Json& description, Calibration& calibration) {
  SPADE_ASSIGN_OR_RETURN(const Json* curve, List(description, "curve", -1));
  for (const Json& entry : *curve) {
    if (!entry.is_array() || entry.size() != 3) return Malformed("'curve' must hold triples");
    TradePoint point;
    SPADE_ASSIGN_OR_RETURN(point.mismatch, Number(entry[0], "curve", 0, 1));
    SPADE_ASSIGN_OR_RETURN(point.exited, Number(entry[1], "curve", 0, 1));
    SPADE_ASSIGN_OR_RETURN(point.saving, Number(entry[2], "curve", -1, 1));
    calibration.curve.push_back(point);
  }
  return absl::OkStatus();
}

absl::Status ParseIdentity(const Json& description, Calibration& calibration) {
  SPADE_ASSIGN_OR_RETURN(const std::string format, Text(description, "format"));
  if (format != kCalibrationFormat) {
    return Malformed(absl::StrCat("its format is '", format, "', not '", kCalibrationFormat,
                                  "': run spade-calibrate again"));
  }
  SPADE_ASSIGN_OR_RETURN(calibration.model_sha256, Digest(description, "model_sha256"));
  SPADE_ASSIGN_OR_RETURN(calibration.tokenizer_sha256, Digest(description, "tokenizer_sha256"));
  SPADE_ASSIGN_OR_RETURN(calibration.weight_dtype, Text(description, "weight_dtype"));
  SPADE_ASSIGN_OR_RETURN(const std::string position, Text(description, "position"));
  if (position != "kept" && position != "reset") {
    return Malformed("'position' must be kept or reset");
  }
  calibration.position = position == "kept" ? SpadePosition::kKept : SpadePosition::kReset;
  SPADE_ASSIGN_OR_RETURN(const Json* hidden, Member(description, "hidden_size"));
  SPADE_ASSIGN_OR_RETURN(const int64_t size, Integer(*hidden, "hidden_size", 1, kMaxHidden));
  calibration.hidden_size = static_cast<int32_t>(size);
  return absl::OkStatus();
}

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

absl::StatusOr<Calibration> ParseCalibration(std::span<const std::byte> bytes) {
  SPADE_ASSIGN_OR_RETURN(const SafeTensorsFile file, ParseSafeTensors(bytes));
  const auto found = file.metadata.find(kCalibrationKey);
  if (found == file.metadata.end()) {
    return Malformed(absl::StrCat("its metadata has no '", kCalibrationKey, "'"));
  }
  SPADE_ASSIGN_OR_RETURN(const Json description, ParseDescription(found->second));
  Calibration calibration;
  SPADE_RETURN_IF_ERROR(ParseIdentity(description, calibration));
  SPADE_RETURN_IF_ERROR(ParseLabels(description, calibration));
  SPADE_RETURN_IF_ERROR(ParseExits(description, file, calibration));
  SPADE_RETURN_IF_ERROR(ParseCertificates(description, calibration));
  SPADE_RETURN_IF_ERROR(ParseCurve(description, calibration));
  calibration.id =
      Sha256Hex(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  return calibration;
}

}  // namespace spade
