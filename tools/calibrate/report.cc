#include "tools/calibrate/report.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "engine/exit/binomial.h"

namespace spade {
namespace {

bool IsChosen(const CalibrateResult& result, int32_t layer) {
  return std::ranges::any_of(result.calibration.exits,
                             [&](const ExitHead& exit) { return exit.layer == layer; });
}

std::string FormatLayers(const CalibrateResult& result) {
  std::string text =
      "        agreement with full depth     agreement with SPADE\n"
      "layer   lens    kept   reset  L-SPADE    lens  L-SPADE      KL  exit\n";
  for (size_t i = 0; i < result.heads.size(); ++i) {
    const HeadRow& head = result.heads[i];
    const LayerRow& row = result.table.rows[i];
    absl::StrAppendFormat(&text,
                          "%5d  %5.3f   %5.3f   %5.3f    %5.3f   %5.3f    %5.3f  %6.4f  %s\n",
                          row.layer, row.lens.agreement, row.kept.agreement, row.reset.agreement,
                          head.head_matches_full, head.lens_matches_spade, head.fit.agreement,
                          head.fit.kl, IsChosen(result, row.layer) ? "*" : "");
  }
  return text;
}

std::string FormatCertificate(const Certificate& certificate, const Calibration& calibration) {
  int64_t exited = 0;
  for (const int64_t count : certificate.exited) exited += count;
  std::string text =
      absl::StrFormat("mismatch <= %.2f%%: %.1f%% of prompts leave, %.2f%% of compute saved\n",
                      100 * certificate.max_mismatch,
                      100 * double(exited) / double(certificate.prompts), 100 * certificate.saving);
  for (size_t e = 0; e < calibration.exits.size(); ++e) {
    if (certificate.thresholds[e] <= 0) continue;
    absl::StrAppendFormat(
        &text, "  layer %3d  entropy < %.4f  left %6d  mismatched %4d  upper bound %.3f%%\n",
        calibration.exits[e].layer, certificate.thresholds[e], certificate.exited[e],
        certificate.mismatched[e],
        100 * FailureRateUpperBound(double(certificate.mismatched[e]),
                                    double(certificate.exited[e]), 0.95));
  }
  return text;
}

}  // namespace

std::string FormatResult(const CalibrateResult& result) {
  const Calibration& calibration = result.calibration;
  std::string text = absl::StrFormat(
      "prompts: %d to fit, %d to validate, %d to certify\n"
      "answer row's position in the SPADE pass: %s\n"
      "one check costs %.3f layer-rows\n\n",
      result.fit_prompts, result.validation_prompts, result.certification_prompts,
      calibration.position == SpadePosition::kKept ? "kept" : "reset", result.costs.check);
  text += FormatLayers(result) + "\n";
  for (const Certificate& certificate : calibration.certificates) {
    text += FormatCertificate(certificate, calibration);
  }
  if (calibration.certificates.empty()) {
    text += "No bound could be certified: FAST requests will be refused. More prompts may help.\n";
  }
  absl::StrAppendFormat(&text, "a perfect gate at these exits would save %.2f%%\n",
                        100 * result.oracle_saving);
  return text;
}

}  // namespace spade
