#include "engine/exit/calibration.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/exit/calibration_format.h"
#include "engine/exit/calibration_writer.h"

namespace spade {

using Json = nlohmann::json;

namespace {

Json AddHeads(const std::vector<ExitHead>& heads, int64_t labels, int64_t hidden,
              calibration::Writer& writer) {
  Json list = Json::array();
  for (const ExitHead& head : heads) {
    list.push_back({{"layer", head.layer}, {"temperature", head.temperature}});
    writer.AddTensor(WeightName(head.layer), head.weight, {labels, hidden});
    writer.AddTensor(BiasName(head.layer), head.bias, {labels});
  }
  return list;
}

}  // namespace

std::string SerializeCalibration(const Calibration& calibration) {
  calibration::Writer writer(kCalibrationFormat, calibration);
  const auto labels = static_cast<int64_t>(calibration.label_ids.size());
  Json curve = Json::array();
  for (const TradePoint& point : calibration.curve) {
    curve.push_back({point.mismatch, point.exited, point.saving});
  }
  Json& description = writer.description();
  description["position"] = calibration.position == SpadePosition::kKept ? "kept" : "reset";
  description["label_texts"] = calibration.label_texts;
  description["label_ids"] = calibration.label_ids;
  description["exits"] = AddHeads(calibration.exits, labels, calibration.hidden_size, writer);
  if (!calibration.other_heads.empty()) {
    description["other_heads"] =
        AddHeads(calibration.other_heads, labels, calibration.hidden_size, writer);
  }
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
