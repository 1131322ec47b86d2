#include "engine/exit/calibration.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/exit/calibration_format.h"
#include "engine/exit/calibration_writer.h"

namespace spade {

using Json = nlohmann::json;

std::string SerializeCalibration(const Calibration& calibration) {
  calibration::Writer writer(kCalibrationFormat, calibration);
  Json exits = Json::array();
  const auto labels = static_cast<int64_t>(calibration.label_ids.size());
  for (const ExitHead& exit : calibration.exits) {
    exits.push_back({{"layer", exit.layer}, {"temperature", exit.temperature}});
    writer.AddTensor(WeightName(exit.layer), exit.weight, {labels, calibration.hidden_size});
    writer.AddTensor(BiasName(exit.layer), exit.bias, {labels});
  }
  Json curve = Json::array();
  for (const TradePoint& point : calibration.curve) {
    curve.push_back({point.mismatch, point.exited, point.saving});
  }
  Json& description = writer.description();
  description["position"] = calibration.position == SpadePosition::kKept ? "kept" : "reset";
  description["label_texts"] = calibration.label_texts;
  description["label_ids"] = calibration.label_ids;
  description["exits"] = std::move(exits);
  description["curve"] = std::move(curve);
  writer.AddCertificates(calibration.certificates);
  return writer.Finish();
}

std::string WeightName(int32_t layer) { return absl::StrFormat("exit.%d.weight", layer); }
std::string BiasName(int32_t layer) { return absl::StrFormat("exit.%d.bias", layer); }

const Certificate* CertificateFor(const std::vector<Certificate>& certificates,
                                  double max_mismatch) {
  // A bound that came through a 32-bit field still names its certificate.
  const double limit = max_mismatch * (1 + 1e-6);
  const Certificate* loosest = nullptr;
  for (const Certificate& certificate : certificates) {
    if (certificate.max_mismatch <= limit) loosest = &certificate;
  }
  return loosest;
}

absl::Status SaveCalibration(const Calibration& calibration, const std::string& path) {
  return calibration::WriteFile(SerializeCalibration(calibration), path);
}

}  // namespace spade
