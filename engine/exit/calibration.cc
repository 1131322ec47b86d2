#include "engine/exit/calibration.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/mapped_file.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/exit/calibration_format.h"

namespace spade {
namespace {

using Json = nlohmann::json;

Json ToJson(const Certificate& certificate) {
  return {{"max_mismatch", certificate.max_mismatch},
          {"thresholds", certificate.thresholds},
          {"exited", certificate.exited},
          {"mismatched", certificate.mismatched},
          {"prompts", certificate.prompts},
          {"saving", certificate.saving}};
}

std::string DescriptionOf(const Calibration& calibration) {
  Json exits = Json::array();
  for (const ExitHead& exit : calibration.exits) {
    exits.push_back({{"layer", exit.layer}, {"temperature", exit.temperature}});
  }
  Json certificates = Json::array();
  for (const Certificate& certificate : calibration.certificates) {
    certificates.push_back(ToJson(certificate));
  }
  Json curve = Json::array();
  for (const TradePoint& point : calibration.curve) {
    curve.push_back({point.mismatch, point.exited, point.saving});
  }
  const Json description = {
      {"format", kCalibrationFormat},
      {"model_sha256", calibration.model_sha256},
      {"tokenizer_sha256", calibration.tokenizer_sha256},
      {"weight_dtype", calibration.weight_dtype},
      {"position", calibration.position == SpadePosition::kKept ? "kept" : "reset"},
      {"label_texts", calibration.label_texts},
      {"label_ids", calibration.label_ids},
      {"hidden_size", calibration.hidden_size},
      {"exits", std::move(exits)},
      {"certificates", std::move(certificates)},
      {"curve", std::move(curve)},
  };
  return description.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

// Appends one F32 tensor's header entry and data.
void AddTensor(const std::string& name, const std::vector<float>& values,
               const std::vector<int64_t>& shape, Json& header, std::string& data) {
  const size_t begin = data.size();
  data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
}

}  // namespace

std::string SerializeCalibration(const Calibration& calibration) {
  Json header = {{"__metadata__", {{kCalibrationKey, DescriptionOf(calibration)}}}};
  std::string data;
  const auto labels = static_cast<int64_t>(calibration.label_ids.size());
  for (const ExitHead& exit : calibration.exits) {
    AddTensor(WeightName(exit.layer), exit.weight, {labels, calibration.hidden_size}, header, data);
    AddTensor(BiasName(exit.layer), exit.bias, {labels}, header, data);
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins aligned
  const auto length = static_cast<uint64_t>(text.size());
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + text + data;
}

std::string WeightName(int32_t layer) { return absl::StrFormat("exit.%d.weight", layer); }
std::string BiasName(int32_t layer) { return absl::StrFormat("exit.%d.bias", layer); }

const Certificate* Calibration::CertificateFor(double max_mismatch) const {
  // A bound that came through a 32-bit field still names its certificate.
  const double limit = max_mismatch * (1 + 1e-6);
  const Certificate* loosest = nullptr;
  for (const Certificate& certificate : certificates) {
    if (certificate.max_mismatch <= limit) loosest = &certificate;
  }
  return loosest;
}

absl::StatusOr<Calibration> LoadCalibration(const std::string& path) {
  SPADE_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  absl::StatusOr<Calibration> calibration = ParseCalibration(file.bytes());
  if (!calibration.ok()) {
    return absl::Status(calibration.status().code(),
                        absl::StrCat(path, ": ", calibration.status().message()));
  }
  return calibration;
}

absl::Status SaveCalibration(const Calibration& calibration, const std::string& path) {
  // Written beside and renamed: a reader never sees half a file.
  const std::string partial = path + ".tmp";
  const std::string content = SerializeCalibration(calibration);
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(partial, path, error);
  if (!out || error) {
    return absl::UnavailableError(absl::StrCat("cannot write ", path,
                                               ": check that its folder exists, may be written "
                                               "and has space"));
  }
  return absl::OkStatus();
}

}  // namespace spade
