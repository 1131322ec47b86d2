#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/exit/calibration_format.h"
#include "engine/exit/calibration_json.h"

namespace spade {
namespace {

using calibration::Integer;
using calibration::Json;
using calibration::kMaxLayers;
using calibration::List;
using calibration::Malformed;
using calibration::Member;
using calibration::Number;
using calibration::Text;
using calibration::Values;

constexpr size_t kMaxLabels = 1 << 16;

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

// The heads of list `key`, in ascending layers.
absl::StatusOr<std::vector<ExitHead>> ParseHeads(const Json& description, const char* key,
                                                 const SafeTensorsFile& file,
                                                 const Calibration& calibration) {
  SPADE_ASSIGN_OR_RETURN(const Json* list, List(description, key, -1));
  const auto labels = static_cast<int64_t>(calibration.label_ids.size());
  std::vector<ExitHead> heads;
  int64_t previous = 0;
  for (const Json& entry : *list) {
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
    heads.push_back(std::move(head));
    previous = layer;
  }
  return heads;
}

absl::Status ParseExits(const Json& description, const SafeTensorsFile& file,
                        Calibration& calibration) {
  SPADE_ASSIGN_OR_RETURN(calibration.exits, ParseHeads(description, "exits", file, calibration));
  if (calibration.exits.empty()) return Malformed("it has no exits");
  if (description.contains("other_heads")) {  // else it is older than they
    SPADE_ASSIGN_OR_RETURN(calibration.other_heads,
                           ParseHeads(description, "other_heads", file, calibration));
  }
  // A layer that comes in both lists has too few tensors.
  if (file.tensors.size() != 2 * (calibration.exits.size() + calibration.other_heads.size())) {
    return Malformed("it holds tensors that belong to no exit");
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

absl::Status ParsePosition(const Json& description, Calibration& calibration) {
  SPADE_ASSIGN_OR_RETURN(const std::string position, Text(description, "position"));
  if (position != "kept" && position != "reset") {
    return Malformed("'position' must be kept or reset");
  }
  calibration.position = position == "kept" ? SpadePosition::kKept : SpadePosition::kReset;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Calibration> ParseCalibration(std::span<const std::byte> bytes) {
  SPADE_ASSIGN_OR_RETURN(const calibration::Document document, calibration::OpenDocument(bytes));
  const Json& description = document.description;
  Calibration parsed;
  SPADE_RETURN_IF_ERROR(calibration::Identify(document, kCalibrationFormat, bytes, parsed));
  SPADE_RETURN_IF_ERROR(ParsePosition(description, parsed));
  SPADE_RETURN_IF_ERROR(ParseLabels(description, parsed));
  SPADE_RETURN_IF_ERROR(ParseExits(description, document.file, parsed));
  SPADE_ASSIGN_OR_RETURN(
      parsed.certificates,
      calibration::Certificates(description, static_cast<int64_t>(parsed.exits.size())));
  SPADE_RETURN_IF_ERROR(ParseCurve(description, parsed));
  return parsed;
}

}  // namespace spade
