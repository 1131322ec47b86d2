#include "tools/calibrate/certificate_text.h"

#include "absl/strings/str_format.h"
#include "engine/exit/binomial.h"

namespace spade {

std::string FormatCertificate(const Certificate& certificate, std::span<const int32_t> layers,
                              const std::string& units, const std::string& effect) {
  int64_t exited = 0;
  for (const int64_t count : certificate.exited) exited += count;
  std::string text = absl::StrFormat(
      "mismatch <= %.2f%%: %.1f%% of %s leave, %.2f%% of %s\n", 100 * certificate.max_mismatch,
      100 * double(exited) / double(certificate.prompts), units, 100 * certificate.saving, effect);
  for (size_t e = 0; e < layers.size(); ++e) {
    if (certificate.thresholds[e] <= 0) continue;
    absl::StrAppendFormat(
        &text, "  layer %3d  entropy < %.4f  left %6d  mismatched %4d  upper bound %.3f%%\n",
        layers[e], certificate.thresholds[e], certificate.exited[e], certificate.mismatched[e],
        100 * FailureRateUpperBound(double(certificate.mismatched[e]),
                                    double(certificate.exited[e]), 0.95));
  }
  return text;
}

}  // namespace spade
