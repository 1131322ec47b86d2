#include "tools/calibrate/certificate_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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

std::string FormatChoice(const ExitChoice& choice, std::span<const int32_t> layers,
                         const std::string& effect) {
  std::string text =
      absl::StrFormat("exits after layers %s: %.2f%% of %s predicted, on average over the bounds\n",
                      absl::StrJoin(layers, ", "), 100 * choice.saving, effect);
  if (!choice.no_gain.empty()) {
    absl::StrAppend(&text, "  of them, ", absl::StrJoin(choice.no_gain, ", "),
                    " add nothing: --min-exits asks for so many\n");
  }
  if (!choice.next) {
    text += "  no other layer was watched\n";
  } else if (choice.saving_with_next > choice.saving) {
    absl::StrAppendFormat(&text,
                          "  one more, after layer %d, would make it %.2f%%: a larger "
                          "--max-exits allows it\n",
                          *choice.next, 100 * choice.saving_with_next);
  } else {
    absl::StrAppendFormat(&text,
                          "  no more: the best other, after layer %d, would make it %.2f%%\n",
                          *choice.next, 100 * choice.saving_with_next);
  }
  return text;
}

}  // namespace spade
