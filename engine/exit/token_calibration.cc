#include "engine/exit/token_calibration.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/exit/calibration_format.h"
#include "engine/exit/calibration_json.h"
#include "engine/exit/calibration_writer.h"

namespace spade {
namespace {

using calibration::Integer;
using calibration::Json;
using calibration::kMaxLayers;
using calibration::List;
using calibration::Malformed;
using calibration::Member;
using calibration::Number;
using calibration::Values;

constexpr int64_t kMaxRank = 1 << 16;

std::string Name(int32_t layer, const char* part) {
  return absl::StrCat("exit.", layer, ".", part);
}

absl::Status ParseCandidates(const Json& description, TokenCalibration& parsed) {
  SPADE_ASSIGN_OR_RETURN(const Json* list, List(description, "candidates", -1));
  if (list->empty()) return Malformed("it has no candidates");
  int64_t previous = -1;
  for (const Json& entry : *list) {
    SPADE_ASSIGN_OR_RETURN(const int64_t id, Integer(entry, "candidates", previous + 1,
                                                     std::numeric_limits<TokenId>::max()));
    parsed.candidates.push_back(static_cast<TokenId>(id));
    previous = id;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<DraftPoint>> ParseDrafts(const Json& entry) {
  SPADE_ASSIGN_OR_RETURN(const Json* list, List(entry, "drafts", -1));
  std::vector<DraftPoint> points;
  for (const Json& point : *list) {
    if (!point.is_array() || point.size() != 3) return Malformed("'drafts' must hold triples");
    const double lowest = points.empty() ? 0 : points.back().threshold;
    SPADE_ASSIGN_OR_RETURN(const double threshold, Number(point[0], "drafts", lowest, 1e6));
    SPADE_ASSIGN_OR_RETURN(const double share, Number(point[1], "drafts", 0, 1));
    SPADE_ASSIGN_OR_RETURN(const double agreement, Number(point[2], "drafts", 0, 1));
    points.push_back({static_cast<float>(threshold), share, agreement});
  }
  return points;
}

absl::StatusOr<TokenExit> ParseExit(const Json& entry, int64_t previous,
                                    const SafeTensorsFile& file, const TokenCalibration& parsed) {
  TokenExit exit;
  SPADE_ASSIGN_OR_RETURN(const Json* layer, Member(entry, "layer"));
  SPADE_ASSIGN_OR_RETURN(const int64_t value, Integer(*layer, "layer", previous + 1, kMaxLayers));
  exit.layer = static_cast<int32_t>(value);
  SPADE_ASSIGN_OR_RETURN(const Json* temperature, Member(entry, "temperature"));
  SPADE_ASSIGN_OR_RETURN(const double degree, Number(*temperature, "temperature", 1e-6, 1e6));
  exit.temperature = static_cast<float>(degree);
  SPADE_ASSIGN_OR_RETURN(const Json* bias, Member(entry, "other_bias"));
  SPADE_ASSIGN_OR_RETURN(const double other_bias, Number(*bias, "other_bias", -1e6, 1e6));
  exit.other_bias = static_cast<float>(other_bias);
  const int64_t hidden = parsed.hidden_size;
  SPADE_ASSIGN_OR_RETURN(exit.down, Values(file, Name(exit.layer, "down"), {parsed.rank, hidden}));
  SPADE_ASSIGN_OR_RETURN(exit.up, Values(file, Name(exit.layer, "up"), {hidden, parsed.rank}));
  SPADE_ASSIGN_OR_RETURN(exit.other, Values(file, Name(exit.layer, "other"), {hidden}));
  return exit;
}

absl::Status ParseExits(const calibration::Document& document, TokenCalibration& parsed) {
  SPADE_ASSIGN_OR_RETURN(const Json* list, List(document.description, "exits", -1));
  for (const Json& entry : *list) {
    const int64_t previous = parsed.exits.empty() ? 0 : parsed.exits.back().layer;
    SPADE_ASSIGN_OR_RETURN(TokenExit exit, ParseExit(entry, previous, document.file, parsed));
    SPADE_ASSIGN_OR_RETURN(std::vector<DraftPoint> drafts, ParseDrafts(entry));
    parsed.exits.push_back(std::move(exit));
    parsed.drafts.push_back(std::move(drafts));
  }
  if (parsed.exits.empty()) return Malformed("it has no exits");
  if (document.file.tensors.size() != 3 * parsed.exits.size()) {
    return Malformed("it holds tensors that belong to no exit");
  }
  return absl::OkStatus();
}

}  // namespace

std::string SerializeTokenCalibration(const TokenCalibration& calibration) {
  calibration::Writer writer(kTokenCalibrationFormat, calibration);
  const int64_t rank = calibration.rank;
  const int64_t hidden = calibration.hidden_size;
  Json exits = Json::array();
  for (size_t e = 0; e < calibration.exits.size(); ++e) {
    const TokenExit& exit = calibration.exits[e];
    Json drafts = Json::array();
    for (const DraftPoint& point : calibration.drafts[e]) {
      drafts.push_back({point.threshold, point.share, point.agreement});
    }
    exits.push_back({{"layer", exit.layer},
                     {"temperature", exit.temperature},
                     {"other_bias", exit.other_bias},
                     {"drafts", std::move(drafts)}});
    writer.AddTensor(Name(exit.layer, "down"), exit.down, {rank, hidden});
    writer.AddTensor(Name(exit.layer, "up"), exit.up, {hidden, rank});
    writer.AddTensor(Name(exit.layer, "other"), exit.other, {hidden});
  }
  Json& description = writer.description();
  description["rank"] = rank;
  description["candidates"] = calibration.candidates;
  description["exits"] = std::move(exits);
  writer.AddCertificates(calibration.certificates);
  return writer.Finish();
}

absl::StatusOr<TokenCalibration> ParseTokenCalibration(std::span<const std::byte> bytes) {
  SPADE_ASSIGN_OR_RETURN(const calibration::Document document, calibration::OpenDocument(bytes));
  TokenCalibration parsed;
  SPADE_RETURN_IF_ERROR(calibration::Identify(document, kTokenCalibrationFormat, bytes, parsed));
  SPADE_ASSIGN_OR_RETURN(const Json* rank, Member(document.description, "rank"));
  SPADE_ASSIGN_OR_RETURN(const int64_t value, Integer(*rank, "rank", 1, kMaxRank));
  parsed.rank = static_cast<int32_t>(value);
  SPADE_RETURN_IF_ERROR(ParseCandidates(document.description, parsed));
  SPADE_RETURN_IF_ERROR(ParseExits(document, parsed));
  SPADE_ASSIGN_OR_RETURN(
      parsed.certificates,
      calibration::Certificates(document.description, static_cast<int64_t>(parsed.exits.size())));
  return parsed;
}

absl::Status SaveTokenCalibration(const TokenCalibration& calibration, const std::string& path) {
  return calibration::WriteFile(SerializeTokenCalibration(calibration), path);
}

}  // namespace spade
